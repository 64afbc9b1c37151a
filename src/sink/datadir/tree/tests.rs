use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::*;

fn tree() -> (TempDir, Tree) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let root = fs::File::open(directory.path()).expect("root");
    (directory, Tree::new(root.into()))
}

fn path(name: &str) -> EntryPath {
    EntryPath::parse(name.as_bytes()).expect("valid name")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

#[test]
fn files_and_directories_get_their_modes_whatever_the_umask() {
    let (directory, mut tree) = tree();
    tree.create(&path("a/b/c")).expect("created");
    for above in ["a", "a/b"] {
        assert_eq!(mode(&directory.path().join(above)), DIRECTORY_MODE);
    }
    assert_eq!(mode(&directory.path().join("a/b/c")), FILE_MODE);
}

#[test]
fn a_file_of_the_same_name_is_replaced_not_written_through() {
    let (directory, mut tree) = tree();
    let mut old = tree.create(&path("a")).expect("created");
    let mut new = tree.create(&path("a")).expect("created");
    old.write_all(b"old").expect("written");
    new.write_all(b"new").expect("written");
    assert_eq!(fs::read(directory.path().join("a")).expect("file"), b"new");
}

#[test]
fn links_are_neither_followed_nor_written_through() {
    let (directory, mut tree) = tree();
    let outside = tempfile::tempdir().expect("temporary directory");
    let victim = outside.path().join("victim");
    fs::write(&victim, b"intact").expect("written");
    symlink(outside.path(), directory.path().join("db")).expect("link");
    symlink(&victim, directory.path().join("file")).expect("link");
    tree.create(&path("db/victim")).expect_err("a link, not a directory");
    tree.remove(&path("db/victim")).expect_err("a link, not a directory");
    tree.create(&path("a")).expect("created");
    tree.rename(&path("a"), &path("db/victim")).expect_err("a link, not a directory");
    let mut file = tree.create(&path("file")).expect("the link is replaced");
    file.write_all(b"content").expect("written");
    assert_eq!(fs::read(victim).expect("file"), b"intact");
}

#[test]
fn renaming_makes_directories_and_ignores_what_is_not_there() {
    let (directory, mut tree) = tree();
    tree.create(&path("a/x")).expect("created");
    tree.rename(&path("a/x"), &path("b/c/y")).expect("renamed");
    tree.rename(&path("a/never"), &path("b/never")).expect("ignored");
    tree.remove(&path("a/never")).expect("ignored");
    assert!(directory.path().join("b/c/y").exists());
    assert!(!directory.path().join("a/x").exists());
    tree.remove(&path("b/c/y")).expect("removed");
    assert!(!directory.path().join("b/c/y").exists());
}

#[test]
fn more_directories_than_handles_work_and_are_all_synced() {
    let (directory, mut tree) = tree();
    for round in 0..2 {
        for number in 0..HANDLES_MAX * 3 {
            tree.create(&path(&format!("db{number}/sub/file{round}"))).expect("created");
        }
    }
    assert!(tree.handles.len() <= HANDLES_MAX);
    assert_eq!(tree.directories.len(), HANDLES_MAX * 3 * 2);
    tree.sync_directories().expect("synced");
    assert!(directory.path().join("db0/sub/file1").exists());
}

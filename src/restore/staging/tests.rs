use super::*;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("reads");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

fn put(directory: &Path, names: &[&str]) {
    fs::create_dir_all(directory).expect("makes a directory");
    for name in names {
        fs::write(directory.join(name), name).expect("writes");
    }
}

fn inside(target: &Path, force: bool) -> Staging {
    let place = target.join(PARTIAL);
    let lock = make_place(&place, Leftovers::Remove).expect("makes a place");
    Staging { target: target.to_path_buf(), place, kind: Kind::Inside, force, _lock: lock }
}

#[test]
fn a_new_directory_appears_with_its_content() {
    let parent = tempfile::tempdir().expect("a directory");
    let target = parent.path().join("above/mysql");
    let staging = Staging::claim(&target, false, Leftovers::Remove).expect("claims");
    put(staging.place(), &["ibdata1"]);
    assert!(!target.exists());
    staging.publish().expect("publishes");
    assert_eq!(names(&target), ["ibdata1"]);
    assert_eq!(names(&parent.path().join("above")), ["mysql"]);
}

#[test]
fn an_empty_directory_is_taken_and_a_full_one_is_not() {
    let parent = tempfile::tempdir().expect("a directory");
    let target = parent.path().join("mysql");
    put(&target, &[]);
    Staging::claim(&target, false, Leftovers::Remove).expect("claims").discard();
    put(&target, &["ibdata1"]);
    let error = Staging::claim(&target, false, Leftovers::Remove).expect_err("refuses");
    assert!(matches!(error, RestoreError::Occupied { .. }));
    assert_eq!(names(parent.path()), ["mysql"]);
}

#[test]
fn a_directory_filled_meanwhile_is_not_replaced() {
    let parent = tempfile::tempdir().expect("a directory");
    let target = parent.path().join("mysql");
    let staging = Staging::claim(&target, false, Leftovers::Remove).expect("claims");
    put(staging.place(), &["new"]);
    put(&target, &["somebody else's"]);
    let error = staging.publish().expect_err("refuses");
    assert!(matches!(error, RestoreError::Occupied { .. }));
    assert_eq!(names(&target), ["somebody else's"]);
    assert_eq!(names(parent.path()), ["mysql"]);
}

#[test]
fn force_swaps_old_and_new() {
    let parent = tempfile::tempdir().expect("a directory");
    let target = parent.path().join("mysql");
    put(&target, &["old"]);
    let staging = Staging::claim(&target, true, Leftovers::Remove).expect("claims");
    put(staging.place(), &["new"]);
    assert_eq!(names(&target), ["old"]);
    staging.publish().expect("publishes");
    assert_eq!(names(&target), ["new"]);
    assert_eq!(names(parent.path()), ["mysql"]);
}

#[test]
fn a_swap_also_works_in_two_steps() {
    let parent = tempfile::tempdir().expect("a directory");
    let target = parent.path().join("mysql");
    put(&target, &["old"]);
    let staging = Staging::claim(&target, true, Leftovers::Remove).expect("claims");
    put(staging.place(), &["new"]);
    staging.replace_in_two_steps().expect("replaces");
    assert_eq!(names(&target), ["new"]);
    assert_eq!(names(parent.path()), ["mysql"]);
}

#[test]
fn two_restores_never_share_a_place() {
    let parent = tempfile::tempdir().expect("a directory");
    let target = parent.path().join("mysql");
    let first = Staging::claim(&target, false, Leftovers::Remove).expect("claims");
    put(first.place(), &["ibdata1"]);
    let error = Staging::claim(&target, false, Leftovers::Remove).expect_err("refuses");
    assert!(matches!(error, RestoreError::Busy { .. }));
    assert_eq!(names(first.place()), ["ibdata1"]);
}

#[test]
fn what_an_interrupted_restore_left_is_cleared() {
    let parent = tempfile::tempdir().expect("a directory");
    let target = parent.path().join("mysql");
    put(&parent.path().join("mysql.partial/db"), &["t.ibd"]);
    let staging = Staging::claim(&target, false, Leftovers::Remove).expect("claims");
    assert!(names(staging.place()).is_empty());
}

#[test]
fn a_link_in_the_place_is_refused() {
    let parent = tempfile::tempdir().expect("a directory");
    let elsewhere = parent.path().join("elsewhere");
    put(&elsewhere, &["precious"]);
    std::os::unix::fs::symlink(&elsewhere, parent.path().join("mysql.partial")).expect("links");
    let error = Staging::claim(&parent.path().join("mysql"), false, Leftovers::Remove)
        .expect_err("refuses");
    assert!(matches!(error, RestoreError::Create { .. }));
    assert_eq!(names(&elsewhere), ["precious"]);
}

#[test]
fn a_mount_point_is_filled_from_inside() {
    let target = tempfile::tempdir().expect("a directory");
    put(&target.path().join(LOST_AND_FOUND), &[]);
    let staging = inside(target.path(), false);
    put(staging.place(), &["grastate.dat", "ibdata1"]);
    put(&staging.place().join("db"), &["t.ibd"]);
    staging.publish().expect("publishes");
    assert_eq!(names(target.path()), ["db", "grastate.dat", "ibdata1", "lost+found"]);
}

#[test]
fn a_mount_points_old_content_goes_only_with_force() {
    let target = tempfile::tempdir().expect("a directory");
    put(target.path(), &["ibdata1", "old"]);
    put(&target.path().join(".old"), &["of an interrupted restore"]);
    let staging = inside(target.path(), false);
    put(staging.place(), &["ibdata1"]);
    assert!(matches!(staging.publish(), Err(RestoreError::Occupied { .. })));
    assert_eq!(names(target.path()), [".old", "ibdata1", "old"]);
    let staging = inside(target.path(), true);
    put(staging.place(), &["ibdata1", "new"]);
    staging.publish().expect("publishes");
    assert_eq!(names(target.path()), ["ibdata1", "new"]);
}

#[test]
fn moves_are_taken_back_when_one_fails() {
    let target = tempfile::tempdir().expect("a directory");
    put(target.path(), &["old"]);
    let staging = inside(target.path(), true);
    put(staging.place(), &["new"]);
    // A directory cannot be replaced by a file: the second move fails.
    put(&target.path().join("new"), &["x"]);
    let error = staging.move_up(&target.path().join("nowhere"), vec!["old".into()]);
    assert!(error.is_err());
    fs::create_dir(target.path().join(OLD)).expect("makes a directory");
    let error = staging.move_up(&target.path().join(OLD), vec!["old".into()]);
    assert!(error.is_err());
    assert_eq!(names(target.path()), [".old", ".partial", "new", "old"]);
    assert_eq!(names(staging.place()), ["new"]);
}

#[test]
fn grastate_moves_last() {
    let place = tempfile::tempdir().expect("a directory");
    put(place.path(), &["a", "grastate.dat", "z"]);
    let names = new_content(place.path()).expect("reads");
    assert_eq!(names.last().expect("a name"), grastate::NAME);
}

#[test]
fn mount_points_are_told_from_directories() {
    assert!(is_mount_point(Path::new("/proc")));
    let directory = tempfile::tempdir().expect("a directory");
    assert!(!is_mount_point(directory.path()));
}

use proptest::prelude::*;

use super::super::testing::{node, primary_id};
use super::*;

const FILE: &str = "\
my_uuid: c7ef0162-e690-11f1-9bab-8b39662e51d1
#vwbeg
view_id: 3 64d92ed3-e690-11f1-9268-fa455b521c00 2
bootstrap: 0
member: 64d92ed3-e690-11f1-9268-fa455b521c00 0
member: c7ef0162-e690-11f1-9bab-8b39662e51d1 2
#vwend
";

fn saved() -> SavedView {
    FILE.parse().unwrap()
}

#[test]
fn a_file_of_an_existing_member_reads_and_writes_byte_for_byte() {
    let saved = saved();
    assert_eq!(saved.me.to_string(), "c7ef0162-e690-11f1-9bab-8b39662e51d1");
    let representative = "64d92ed3-e690-11f1-9268-fa455b521c00".parse().unwrap();
    assert_eq!(saved.view, ViewId::new(ViewKind::Primary, representative, 2));
    assert!(!saved.is_bootstrap);
    let members = [(representative, Segment(0)), (saved.me, Segment(2))];
    assert_eq!(saved.members, BTreeMap::from(members));
    assert_eq!(saved.to_string(), FILE);
}

#[test]
fn a_restart_is_the_next_incarnation_with_the_member_list_unchanged() {
    let restarted = saved().restarted();
    let rewritten = FILE.replacen("11f1-9bab-8b39", "11f1-9bac-8b39", 1);
    assert_eq!(restarted.to_string(), rewritten);
    assert_eq!(rewritten.parse(), Ok(restarted.clone()));
    assert_eq!(restarted.first_view_seq(), 3);
}

#[test]
fn unknown_keys_and_blank_lines_are_ignored() {
    let longer = FILE.replace("#vwbeg", "\nfuture: something new\n#vwbeg");
    assert_eq!(longer.parse(), Ok(saved()));
}

#[test]
fn a_file_that_was_cut_off_is_not_used() {
    for (length, _) in FILE.char_indices() {
        let cut = &FILE[..length];
        if !cut.ends_with("#vwend") {
            assert!(cut.parse::<SavedView>().is_err(), "{length}");
        }
    }
    let error = FILE.replace("#vwend\n", "").parse::<SavedView>();
    assert_eq!(error, Err(ParseSavedViewError::Missing("#vwend")));
}

#[test]
fn what_cannot_be_understood_names_its_line() {
    let broken = [
        ("c7ef0162-e690-11f1-9bab-8b39662e51d1\n#vwbeg", "nobody\n#vwbeg", 1),
        ("view_id: 3", "view_id: 2", 3),
        ("1c00 2\n", "1c00 1073741824\n", 3),
        ("bootstrap: 0", "bootstrap: no", 4),
        ("1c00 0\n", "1c00 256\n", 5),
        ("1c00 0\n", "1c00\n", 5),
    ];
    for (good, bad, line) in broken {
        let error = FILE.replace(good, bad).parse::<SavedView>();
        assert_eq!(error, Err(ParseSavedViewError::Value { line }), "{bad}");
    }
}

#[test]
fn a_view_without_us_is_not_ours() {
    let file = FILE.replacen("my_uuid: c7ef0162", "my_uuid: c7ef0163", 1);
    assert_eq!(file.parse::<SavedView>(), Err(ParseSavedViewError::Foreign));
}

#[test]
fn endless_member_lists_are_refused() {
    let mut file = FILE.replace("#vwend\n", "");
    for number in 0..700 {
        let id = NodeId::version1(number, 1, [1; 6]);
        file.push_str(&format!("member: {id} 0\n"));
    }
    assert_eq!(file.parse::<SavedView>(), Err(ParseSavedViewError::TooManyMembers));
}

#[test]
fn a_node_is_named_in_any_incarnation() {
    let saved = saved();
    assert!(saved.names(&saved.me.next_incarnation()));
    assert!(!saved.names(&node(1)));
}

proptest! {
    #[test]
    fn saved_views_round_trip(
        seq in 0u32..1 << 30, is_bootstrap in any::<bool>(),
        segments in prop::collection::vec(any::<u8>(), 1..12),
    ) {
        let members: BTreeMap<_, _> =
            segments.iter().zip(1..).map(|(&segment, n)| (node(n), Segment(segment))).collect();
        let saved = SavedView { me: node(1), view: primary_id(1, seq), is_bootstrap, members };
        prop_assert_eq!(saved.to_string().parse(), Ok(saved));
    }

    #[test]
    fn mangled_files_never_panic(at in 0usize..FILE.len(), byte in 0u8..128, cut in 0usize..400) {
        let mut bytes = FILE.as_bytes().to_vec();
        bytes[at] = byte;
        bytes.truncate(cut);
        let _ = String::from_utf8_lossy(&bytes).parse::<SavedView>();
    }
}

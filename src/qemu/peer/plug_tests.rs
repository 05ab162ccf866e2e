use std::sync::mpsc::{Receiver, sync_channel};

use proptest::prelude::*;

use super::*;

/// Frames as QEMU sends them.
fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
    let whole = |frame: &Vec<u8>| [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], frame].concat();
    frames.iter().flat_map(whole).collect()
}

fn read_all(bytes: &[u8], room: usize) -> (Receiver<Vec<u8>>, bool) {
    let (sender, frames) = sync_channel(room);
    let lost = AtomicBool::new(false);
    read(bytes, &sender, &lost);
    (frames, lost.load(Ordering::Relaxed))
}

fn ours(length: usize) -> Vec<u8> {
    let mut frame = vec![0; length];
    frame[..6].copy_from_slice(MAC.as_bytes());
    frame
}

#[test]
fn frames_for_us_and_for_all_are_passed_on() {
    let (all, group, others) = (vec![0xff; 60], [&[0x33, 0x33][..], &[0; 58]].concat(), vec![0x52; 60]);
    let sent = [all.clone(), others, ours(60), group.clone(), Vec::new(), ours(KEPT + 9)];
    let (frames, lost) = read_all(&stream(&sent), 9);
    assert_eq!(frames.iter().collect::<Vec<_>>(), [all, ours(60), group, ours(KEPT)]);
    assert!(!lost);
}

#[test]
fn a_frame_that_finds_no_room_is_told_and_the_rest_is_read() {
    let (frames, lost) = read_all(&stream(&vec![ours(60); 5]), 3);
    assert_eq!((frames.iter().count(), lost), (3, true));
}

#[test]
fn a_length_that_cannot_be_is_told() {
    let bytes = [stream(&[ours(60)]), u32::MAX.to_be_bytes().to_vec(), vec![0; 99]].concat();
    let (frames, lost) = read_all(&bytes, 9);
    assert_eq!((frames.iter().count(), lost), (1, true));
}

#[test]
fn whoever_does_not_listen_any_more_holds_up_nothing() {
    let (sender, frames) = sync_channel(1);
    drop(frames);
    let lost = AtomicBool::new(false);
    read(&stream(&vec![ours(60); 9])[..], &sender, &lost);
    assert!(!lost.load(Ordering::Relaxed));
}

proptest! {
    #[test]
    fn any_stream_ends(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes, 2);
    }
}

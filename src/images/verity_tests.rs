use super::*;
use crate::tool::Tool;

const SALT: [u8; 32] = [7; 32];
const UUID: Uuid = Uuid::from_u128(0x0123_4567_89ab_8def_8123_4567_89ab_cdef);

/// Data without repetition, whose bytes depend on their position.
fn sample(blocks: u64) -> Vec<u8> {
    (0..blocks).flat_map(|block| vec![(block % 251) as u8 ^ (block / 251) as u8; BLOCK as usize]).collect()
}

fn made(data: &[u8]) -> (tempfile::TempDir, PathBuf, PathBuf, Result<Digest, Error>) {
    let dir = tempfile::tempdir().unwrap();
    let (data_path, tree_path) = (dir.path().join("data"), dir.path().join("tree"));
    disk::write_atomic(&data_path, data, 0o644).unwrap();
    let root = format(&data_path, &tree_path, &SALT, UUID);
    (dir, data_path, tree_path, root)
}

/// `None` where the oracle is not installed.
fn veritysetup(data: &Path, tree: &Path, root: &Digest) -> Option<bool> {
    let tool = Tool::new("veritysetup").arg("verify").args([data, tree]).arg(root.to_string());
    match tool.output() {
        Ok(_) => Some(true),
        Err(crate::tool::Error::Failed { .. }) => Some(false),
        Err(crate::tool::Error::Start { .. }) => None,
        Err(error @ crate::tool::Error::User { .. }) => panic!("{error}"),
    }
}

#[test]
fn veritysetup_accepts_every_depth_and_refuses_a_flipped_byte() {
    // One block (no level), one level, a full hash block, two levels, more than one chunk.
    for blocks in [1, 2, 128, 129, CHUNK + 1] {
        let (_dir, data, tree, root) = made(&sample(blocks));
        let root = root.unwrap();
        assert_eq!(disk::metadata(&tree).unwrap().len(), hash_size(blocks * BLOCK), "{blocks}");
        if veritysetup(&data, &tree, &root).is_none() {
            continue;
        }
        assert_eq!(veritysetup(&data, &tree, &root), Some(true), "{blocks}");
        let mut bytes = disk::read(&data).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        disk::write_atomic(&data, &bytes, 0o644).unwrap();
        assert_eq!(veritysetup(&data, &tree, &root), Some(false), "{blocks}");
    }
}

#[test]
fn root_hashes_are_those_of_an_independent_program() {
    for (blocks, root) in [
        (1, "69ecf24343646bcbcebaad0b41765fd203dfb85bb15c25d51e4d92ca4fdb1b7b"),
        (2, "aec5d7e4d5635e14081a843afced150cd4b7600d6db20a4485647e93a2cb46a0"),
        (129, "6a6639a88083454395c2e0f5715ca85ce7f674f633fa5cc56336f9c015a9ed73"),
        (300, "e51ab6965c96d2c595979baa58c6df52cf66412243b7cc72ee6b82d07b81e813"),
    ] {
        assert_eq!(made(&sample(blocks)).3.unwrap().to_string(), root, "{blocks}");
    }
}

#[test]
fn the_hash_device_depends_on_nothing_but_its_inputs() {
    let data = sample(130);
    let (_dir, _, tree, _) = made(&data);
    let first = disk::read(&tree).unwrap();
    let (_dir, _, tree, _) = made(&data);
    assert_eq!(disk::read(&tree).unwrap(), first);
    assert_eq!(&first[..16], b"verity\0\0\x01\0\0\0\x01\0\0\0");
    assert_eq!(&first[16..32], UUID.as_bytes());
    assert_eq!(first[72..80], 130_u64.to_le_bytes());
}

#[test]
fn data_that_is_not_whole_blocks_is_refused() {
    for length in [0, 1, 4095, 4097] {
        assert!(matches!(made(&vec![1; length]).3, Err(Error::Length { .. })), "{length}");
    }
}

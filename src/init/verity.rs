//! The dm-verity superblock (`struct verity_sb` of libcryptsetup), and the device-mapper table that follows
//! from it. Nothing in the superblock is trusted: whoever changes it gets another root hash.

use crate::digest::Digest;
use crate::uuid::Uuid;

/// Bytes of a block, of data and of hashes.
pub const BLOCK: u64 = 4096;
/// Bytes of the superblock.
pub const SUPERBLOCK: usize = 512;
const LARGEST_SALT: usize = 256;

/// Why a hash tree cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the verity superblock is unusable: {0}")]
pub struct Error(&'static str);

/// What differs from one superblock to another: all have format 1, SHA-256 and blocks of 4096 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The label of the tree.
    pub uuid: Uuid,
    /// Number of data blocks.
    pub data_blocks: u64,
    /// What each block is hashed with; at most 256 bytes.
    salt: Vec<u8>,
}

impl Superblock {
    /// The superblock of a tree over `data_blocks` blocks.
    pub fn new(uuid: Uuid, data_blocks: u64, salt: &[u8; 32]) -> Self {
        Self { uuid, data_blocks, salt: salt.to_vec() }
    }

    /// Reads a superblock; `data_size` is that of the data partition in bytes.
    ///
    /// Only format 1 with SHA-256 and blocks of 4096 bytes is accepted.
    pub fn parse(bytes: &[u8], data_size: u64) -> Result<Self, Error> {
        let field = |at: usize, length: usize| bytes.get(at..at + length).ok_or(Error("it is cut off"));
        let expect = |at, value: &[u8], message| match field(at, value.len())? == value {
            true => Ok(()),
            false => Err(Error(message)),
        };
        let block = (BLOCK as u32).to_le_bytes();
        expect(0, b"verity\0\0", "it is none")?;
        expect(8, &1_u32.to_le_bytes(), "its version is not 1")?;
        expect(12, &1_u32.to_le_bytes(), "its hash type is not 1")?;
        expect(32, b"sha256\0", "its algorithm is not sha256")?;
        expect(64, &block, "its data blocks do not have 4096 bytes")?;
        expect(68, &block, "its hash blocks do not have 4096 bytes")?;
        let data_blocks = u64::from_le_bytes(array(field(72, 8)?)?);
        if data_blocks == 0 || data_blocks > data_size / BLOCK {
            return Err(Error("it covers more than the data partition, or nothing"));
        }
        let salt_size = usize::from(u16::from_le_bytes(array(field(80, 2)?)?));
        if salt_size > LARGEST_SALT {
            return Err(Error("its salt is longer than 256 bytes"));
        }
        let salt = field(88, salt_size)?.to_vec();
        Ok(Self { uuid: Uuid::from_bytes(array(field(16, 16)?)?), data_blocks, salt })
    }

    /// The superblock's bytes, without those that fill up its block.
    pub fn to_bytes(&self) -> [u8; SUPERBLOCK] {
        let mut bytes = [0; SUPERBLOCK];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let block = (BLOCK as u32).to_le_bytes();
        put(0, b"verity\0\0");
        put(8, &1_u32.to_le_bytes()); // version of the superblock
        put(12, &1_u32.to_le_bytes()); // hash type: salt before data
        put(16, self.uuid.as_bytes());
        put(32, b"sha256\0");
        put(64, &block); // data blocks
        put(68, &block); // hash blocks
        put(72, &self.data_blocks.to_le_bytes());
        put(80, &(self.salt.len() as u16).to_le_bytes());
        put(88, &self.salt);
        bytes
    }

    /// Size of the verified device in sectors of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.data_blocks * (BLOCK / 512)
    }

    /// The parameters of a `verity` target on these devices, given as `MAJOR:MINOR`. A block that does not
    /// match restarts the machine.
    pub fn parameters(&self, data: &str, tree: &str, root_hash: &Digest) -> String {
        let salt: String = self.salt.iter().map(|byte| format!("{byte:02x}")).collect();
        let salt = if salt.is_empty() { "-" } else { &salt };
        let blocks = self.data_blocks;
        format!("1 {data} {tree} {BLOCK} {BLOCK} {blocks} 1 sha256 {root_hash} {salt} 1 restart_on_corruption")
    }

    /// The device-mapper UUID that systemd-veritysetup gives to a device of this name.
    pub fn dm_uuid(&self, name: &str) -> String {
        format!("CRYPT-VERITY-{}-{name}", self.uuid.to_string().replace('-', ""))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| Error("it is cut off"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `veritysetup format --uuid 01234567-89ab-8def-8123-456789abcdef --salt 0707` begins its output.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; SUPERBLOCK];
        bytes[..8].copy_from_slice(b"verity\0\0");
        bytes[8] = 1;
        bytes[12] = 1;
        bytes[16..32].copy_from_slice(&0x0123_4567_89ab_8def_8123_4567_89ab_cdef_u128.to_be_bytes());
        bytes[32..38].copy_from_slice(b"sha256");
        bytes[65] = 0x10;
        bytes[69] = 0x10;
        bytes[72] = 3;
        bytes[80] = 2;
        bytes[88..90].fill(7);
        bytes
    }

    #[test]
    fn the_table_line_is_the_one_of_the_kernels_documentation() {
        let superblock = Superblock::parse(&sample(), 3 * BLOCK).unwrap();
        let hash = Digest::from_bytes([7; 32]);
        assert_eq!(
            superblock.parameters("254:2", "254:3", &hash),
            format!("1 254:2 254:3 4096 4096 3 1 sha256 {hash} 0707 1 restart_on_corruption")
        );
        assert_eq!(superblock.sectors(), 24);
        assert_eq!(superblock.to_bytes(), *sample());
        assert_eq!(superblock.dm_uuid("root"), "CRYPT-VERITY-0123456789ab8def8123456789abcdef-root");
    }

    #[test]
    fn a_superblock_of_another_kind_is_refused() {
        let changes: [(usize, u8); 12] = [
            (0, b'V'),
            (8, 2),
            (12, 0),
            (32, b'S'),
            (37, b'2'),
            (38, b'x'),
            (65, 0x20),
            (69, 0x02),
            (72, 0),
            (72, 4),
            (79, 0x80),
            (81, 2),
        ];
        for (at, value) in changes {
            let mut bytes = sample();
            bytes[at] = value;
            assert!(Superblock::parse(&bytes, 3 * BLOCK).is_err(), "{at}");
        }
        for length in [0, 7, 80, 89] {
            assert!(Superblock::parse(&sample()[..length], 3 * BLOCK).is_err(), "{length}");
        }
        assert!(Superblock::parse(&sample(), 3 * BLOCK - 1).is_err(), "a partition that is too small");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(changes in prop::collection::vec((0_usize..100, any::<u8>()), 0..5), size: u64) {
            let mut bytes = sample();
            for (at, value) in changes {
                bytes[at] = value;
            }
            if let Ok(superblock) = Superblock::parse(&bytes, size) {
                prop_assert!(superblock.sectors() <= size / 512);
            }
        }
    }
}

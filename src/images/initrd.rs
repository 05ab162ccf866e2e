//! The initial RAM disk: a small program as `/init`, and the kernel modules that lead to the root file system.
//!
//! | path | what |
//! | --- | --- |
//! | /init | the program of `src/init`, which is a part of rave; see [`INIT`] |
//! | /lib/modules/RELEASE/... | modules, decompressed, with their signatures |
//! | /bin/busybox | a shell, where one is asked for |
//! | /modules.list | their paths, one per line, in the order of loading; after each the paths of those that it needs |
//! | /dev/console, /dev/null | for the time before devtmpfs is mounted |

use std::collections::BTreeSet;
use std::io::{self, Read, Write as _};

use rave_init::{MODULES, SHELL};

use crate::images::cpio::{self, Archive, Node};
use crate::images::kmod::{Index, IndexFiles, UnknownModule};

/// Modules that every image needs: its disk, its file system, its verification.
const WANTED: [&str; 4] = ["virtio_pci", "virtio_blk", "erofs", "dm_verity"];
/// Faster forms of what the kernel has built in, and what older kernels have as modules.
const OPTIONAL: [&str; 1] = ["crypto-sha256"];
/// The program of `src/init`, a static executable that the build script made.
pub static INIT: &[u8] = include_bytes!(env!("RAVE_INIT"));
/// More than any module has, decompressed.
const MODULE_LIMIT: u64 = 64 << 20;

/// What an initrd is made for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What becomes `/init`, a static executable: [`INIT`].
    pub init: &'a [u8],
    /// The kernel's release, as its directory below `/usr/lib/modules` is called.
    pub kernel: &'a str,
    /// Modules besides those that every image needs.
    pub modules: &'a BTreeSet<String>,
    /// A static busybox, for images for debugging.
    pub shell: Option<&'a [u8]>,
    /// zstd's level, 1 to 22.
    pub level: i32,
}

/// Why no initrd was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A module that does not exist.
    #[error(transparent)]
    Unknown(#[from] UnknownModule),
    /// A file that belongs to the kernel is not in the root file system.
    #[error("{0} is missing in the root file system{hint}", hint = if .0.ends_with("modules.dep") { "; depmod, of the package kmod, makes it" } else { "" })]
    Missing(String),
    /// A file of the root file system could not be read.
    #[error("cannot read {path} in the root file system")]
    Read {
        /// The file.
        path: String,
        /// What the reader said.
        source: io::Error,
    },
    /// A module that cannot be decompressed, or is too large.
    #[error("cannot decompress {path}")]
    Decompress {
        /// The module.
        path: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A path that cannot be packed.
    #[error(transparent)]
    Cpio(#[from] cpio::Error),
    /// zstd refused, for its level.
    #[error("cannot compress the initrd")]
    Compress(#[source] io::Error),
}

/// Reads a file of the image's root file system by its absolute path; nothing if it does not exist.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> io::Result<Option<Vec<u8>>>;

/// Makes an initrd, compressed by zstd. The same files and request give the same bytes.
///
/// `read` is asked for files below `/usr/lib/modules/RELEASE` only.
pub fn build(request: &Request<'_>, read: ReadFile<'_>) -> Result<Vec<u8>, Error> {
    let directory = format!("/usr/lib/modules/{}", request.kernel);
    let get = |path: &str| read(path).map_err(|source| Error::Read { path: path.to_owned(), source });
    let text = |name: &str| -> Result<Option<String>, Error> {
        Ok(get(&format!("{directory}/{name}"))?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let dep = text("modules.dep")?.ok_or_else(|| Error::Missing(format!("{directory}/modules.dep")))?;
    let [builtin, alias, softdep] = ["modules.builtin", "modules.alias", "modules.softdep"].map(text);
    let (builtin, alias, softdep) =
        (builtin?.unwrap_or_default(), alias?.unwrap_or_default(), softdep?.unwrap_or_default());
    let index = Index::parse(&IndexFiles { dep: &dep, builtin: &builtin, alias: &alias, softdep: &softdep });
    let wanted: Vec<&str> = WANTED.into_iter().chain(request.modules.iter().map(String::as_str)).collect();

    let mut archive = Archive::default();
    let target = |path: &str| {
        let stem = path.find(".ko").map_or(path, |at| &path[..at]);
        format!("lib/modules/{}/{stem}.ko", request.kernel)
    };
    let mut list = String::new();
    for path in index.order(&wanted, &OPTIONAL)? {
        let source = format!("{directory}/{path}");
        let packed = get(&source)?.ok_or_else(|| Error::Missing(source.clone()))?;
        let content = decompress(path, &packed).map_err(|error| Error::Decompress { path: source, source: error })?;
        archive.add(&target(path), Node::File { mode: 0o644, content })?;
        let line: Vec<String> =
            [path].into_iter().chain(index.needs(path)).map(|path| format!("/{}", target(path))).collect();
        list.push_str(&format!("{}\n", line.join(" ")));
    }
    archive.add(MODULES.trim_start_matches('/'), Node::File { mode: 0o644, content: list.into_bytes() })?;
    archive.add("init", Node::File { mode: 0o755, content: request.init.to_vec() })?;
    if let Some(shell) = request.shell {
        archive.add(SHELL.trim_start_matches('/'), Node::File { mode: 0o755, content: shell.to_vec() })?;
    }
    archive.add("dev/console", Node::CharacterDevice { major: 5, minor: 1 })?;
    archive.add("dev/null", Node::CharacterDevice { major: 1, minor: 3 })?;
    for directory in ["proc", "run", "sys", "sysroot"] {
        archive.add(directory, Node::Directory)?;
    }
    compress(&archive.to_bytes(), request.level).map_err(Error::Compress)
}

fn decompress(path: &str, packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut reader: Box<dyn Read + '_> = match path.rsplit('.').next() {
        Some("xz") => Box::new(liblzma::read::XzDecoder::new(packed)),
        Some("zst") => Box::new(zstd::Decoder::new(packed)?),
        Some("gz") => Box::new(flate2::read::GzDecoder::new(packed)),
        _ => Box::new(packed),
    };
    let mut bytes = Vec::new();
    reader.by_ref().take(MODULE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MODULE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 MiB"));
    }
    Ok(bytes)
}

/// One worker: the bytes depend on their number.
fn compress(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    if !(1..=22).contains(&level) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "zstd levels are 1 to 22"));
    }
    let mut encoder = zstd::Encoder::new(Vec::new(), level)?;
    encoder.include_checksum(true)?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const DIRECTORY: &str = "/usr/lib/modules/6.12/";

    fn files() -> BTreeMap<String, Vec<u8>> {
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(b"erofs module~Module signature appended~\n").unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(b"nvme module").unwrap();
        let dep = "kernel/fs/erofs.ko.xz:\nkernel/dm-verity.ko.zst: kernel/dm-mod.ko\nkernel/dm-mod.ko:\n\
                   kernel/nvme.ko.gz:\nkernel/bad.ko.xz:\nkernel/lost.ko:\n../../etc/passwd.ko:\n";
        [
            ("modules.dep", dep.as_bytes().to_vec()),
            ("modules.builtin", b"kernel/virtio_pci.ko\nkernel/virtio_blk.ko\n".to_vec()),
            ("kernel/fs/erofs.ko.xz", xz.finish().unwrap()),
            ("kernel/dm-verity.ko.zst", zstd::encode_all(&b"verity module"[..], 3).unwrap()),
            ("kernel/dm-mod.ko", b"dm module".to_vec()),
            ("kernel/nvme.ko.gz", gz.finish().unwrap()),
            ("kernel/bad.ko.xz", b"not xz".to_vec()),
            ("../../etc/passwd.ko", b"x".to_vec()),
        ]
        .map(|(name, bytes)| (format!("{DIRECTORY}{name}"), bytes))
        .into()
    }

    fn build_with(files: &BTreeMap<String, Vec<u8>>, extra: &[&str]) -> Result<Vec<u8>, Error> {
        let modules = extra.iter().map(|name| (*name).to_owned()).collect();
        let request = Request { init: b"static binary", kernel: "6.12", modules: &modules, shell: None, level: 3 };
        build(&request, &|path| Ok(files.get(path).cloned()))
    }

    #[test]
    fn modules_are_decompressed_listed_in_order_and_the_bytes_repeat() {
        let packed = build_with(&files(), &["nvme"]).unwrap();
        assert_eq!(build_with(&files(), &["nvme"]).unwrap(), packed);
        let bytes = zstd::decode_all(&packed[..]).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(
            "/lib/modules/6.12/kernel/fs/erofs.ko\n/lib/modules/6.12/kernel/dm-mod.ko\n\
             /lib/modules/6.12/kernel/dm-verity.ko /lib/modules/6.12/kernel/dm-mod.ko\n/lib/modules/6.12/kernel/nvme.ko\n"
        ));
        for content in ["erofs module~Module signature appended~\n", "verity module", "nvme module", "static binary"] {
            assert!(text.contains(content), "{content}");
        }
    }

    #[test]
    fn there_is_a_shell_where_one_is_asked_for_and_nowhere_else() {
        let (files, modules) = (files(), BTreeSet::new());
        for shell in [None, Some(&b"a shell"[..])] {
            let request = Request { init: b"static binary", kernel: "6.12", modules: &modules, shell, level: 3 };
            let packed = build(&request, &|path| Ok(files.get(path).cloned())).unwrap();
            let bytes = zstd::decode_all(&packed[..]).unwrap();
            for text in ["bin/busybox", "a shell"] {
                let has = memchr::memmem::find(&bytes, text.as_bytes()).is_some();
                assert_eq!(has, shell.is_some(), "{text}");
            }
        }
    }

    #[test]
    fn what_is_missing_or_damaged_is_named() {
        let error = |extra: &str| build_with(&files(), &[extra]).unwrap_err().to_string();
        assert_eq!(error("nvmee"), "the kernel has no module nvmee (there is nvme)");
        assert_eq!(error("lost"), format!("{DIRECTORY}kernel/lost.ko is missing in the root file system"));
        assert_eq!(error("bad"), format!("cannot decompress {DIRECTORY}kernel/bad.ko.xz"));
        assert!(error("passwd").contains("not a plain relative path"));
        let mut without = files();
        without.remove(&format!("{DIRECTORY}modules.dep"));
        assert!(build_with(&without, &[]).unwrap_err().to_string().contains("depmod"));
        let fails: ReadFile<'_> = &|_| Err(io::ErrorKind::PermissionDenied.into());
        let request = Request { init: b"", kernel: "6.12", modules: &BTreeSet::new(), shell: None, level: 3 };
        assert!(matches!(build(&request, fails), Err(Error::Read { .. })));
        let request = Request { level: 23, ..request };
        let files = files();
        assert!(matches!(build(&request, &|path| Ok(files.get(path).cloned())), Err(Error::Compress(_))));
    }

    #[test]
    fn init_is_small_and_knows_nothing_of_where_it_was_made() {
        let has = |text: &str| memchr::memmem::find(INIT, text.as_bytes()).is_some();
        assert!(INIT.starts_with(b"\x7fELF") && INIT.len() < 2 << 20, "{} bytes", INIT.len());
        assert!(has("the machine restarts in "), "the search works");
        for path in [env!("CARGO_MANIFEST_DIR"), "registry/src/", "/.cargo/"] {
            assert!(!has(path), "{path}");
        }
    }

    #[test]
    fn init_refuses_to_run_where_it_would_do_harm() {
        let error = crate::tool::Tool::new(env!("RAVE_INIT")).output().unwrap_err().to_string();
        assert!(error.contains("exit status: 1") && error.contains("first process of rave's initrd"), "{error}");
    }

    #[test]
    fn a_decompression_bomb_is_refused() {
        let mut files = files();
        let bomb = zstd::encode_all(io::repeat(0).take(MODULE_LIMIT + 1), 1).unwrap();
        files.insert(format!("{DIRECTORY}kernel/dm-verity.ko.zst"), bomb);
        assert!(matches!(build_with(&files, &[]), Err(Error::Decompress { .. })));
    }
}

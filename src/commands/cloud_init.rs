//! `rave cloud-init`: user-data, whether it is right, and the medium it comes on.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{self, CloudInit, SeedFiles, Variant};
use crate::cloud::render::{self, Identity, User, Wishes};
use crate::cloud::seed::{self, Seed};
use crate::cloud::target::{CONFIGURATION, Target};
use crate::cloud::validate::{self, Rules};
use crate::debian::Lock;
use crate::debian::deb::{Deb, Kind};
use crate::digest::{Canonical, Digest};
use crate::disk;
use crate::origin::{Diagnostic, Severity};
use crate::system::{Cloud, System};
use crate::tree::Content;

use super::locking::{self, Asked};
use super::{Context, Failure, Result, Status, store};

/// The package with the schema.
const PACKAGE: &str = "cloud-init";
/// Where the package has it.
const SCHEMAS: &str = "usr/lib/python3/dist-packages/cloudinit/config/schemas";
/// No schema is larger, in bytes.
const LARGEST_SCHEMA: u64 = 4 << 20;
/// No file that a cloud hands over is, in bytes.
const LARGEST: u64 = 4 << 20;
/// The only algorithms that the SSH server takes (modules/base/sshd_config).
const ALGORITHMS: [&str; 2] = ["ssh-ed25519", "sk-ssh-ed25519@openssh.com"];

/// Does what was asked.
pub fn run(verb: &CloudInit, context: &Context) -> Result<Status> {
    match verb {
        CloudInit::Render(arguments) => write(arguments, context),
        CloudInit::Validate(arguments) => check(arguments, context),
        CloudInit::Seed(arguments) => sow(arguments, context),
    }
}

fn write(arguments: &cli::RenderUserData, context: &Context) -> Result<Status> {
    let (asked, target) = image(context, &arguments.image, &arguments.variant)?;
    takes_part(&target, arguments.cloud)?;
    let read = |path: &std::path::PathBuf| public_keys(path);
    let keys: Vec<String> = arguments.keys.iter().map(read).collect::<Result<Vec<_>>>()?.concat();
    let user = |(name, path): &(String, std::path::PathBuf)| Ok(User { name: name.clone(), keys: public_keys(path)? });
    let users: Vec<User> = arguments.users.iter().map(user).collect::<Result<_>>()?;
    for User { name, .. } in users.iter().filter(|user| !target.logins.contains(&user.name)) {
        context.ui.warn(format!("{name} cannot log in over SSH to {}", target.image));
        context.ui.hint(format!("set base.ssh.users: [{name}] in the image"));
    }
    let plain = arguments.identity.as_deref().map(identity).transpose()?;
    let identity = match (&arguments.identity_url, &plain) {
        (Some(url), _) => Identity::From(url),
        (None, Some(plain)) => Identity::Plain(plain),
        (None, None) => Identity::None,
    };
    if identity == Identity::None && !asked.system.secrets.is_empty() {
        context.ui.warn(format!("{} has secrets, which nothing in this user-data opens", target.image));
        context.ui.hint("give --identity-url, or seal the identity to the machine's TPM: docs/cloud.md");
    }
    let wishes = Wishes { hostname: arguments.hostname.as_deref(), keys: &keys, users: &users, identity };
    let text = render::render(&wishes, arguments.cloud).map_err(refused)?;
    match &arguments.output {
        // It may be secret, and is nobody's business until it is handed over.
        Some(path) => disk::write_atomic(path, text.as_bytes(), 0o600)?,
        None => context.ui.print(text.trim_end()),
    }
    Ok(Status::Done)
}

fn refused(error: render::Error) -> Failure {
    let hint = match &error {
        render::Error::Plain(_) => {
            "give --identity-url with an address that is good for a while only, or seal the identity to the machine's TPM"
        }
        render::Error::Address(_) => "such as an address that the object store has signed",
        render::Error::User(_) => "use a-z, 0-9, _ and -, at most 32",
        render::Error::Hostname(_) => "use letters, digits and - between dots",
    };
    Failure::request(error.to_string()).hint(hint)
}

fn check(arguments: &cli::ValidateUserData, context: &Context) -> Result<Status> {
    let (asked, target) = image(context, &arguments.image, &arguments.variant)?;
    takes_part(&target, arguments.cloud)?;
    let rules = rules(context, &asked)?;
    let mut found = Vec::new();
    if let Some(path) = &arguments.user_data {
        let (name, bytes) = file(path)?;
        let told = validate::user_data(&name, &bytes, &rules, &target, arguments.cloud);
        found.extend(told.map_err(Failure::error)?);
    }
    if let Some(path) = &arguments.network_config {
        let (name, bytes) = file(path)?;
        found.extend(validate::network_config(&name, &bytes, &rules).map_err(Failure::error)?);
    }
    let wrong = found.iter().any(|told| told.severity == Severity::Error);
    if context.ui.is_json() {
        let findings: Vec<Value> = found.iter().map(as_json).collect();
        context.ui.print_json(&json!({"valid": !wrong, "findings": findings}));
    } else {
        context.ui.diagnostics(&found);
    }
    Ok(if wrong { Status::Unwell } else { Status::Done })
}

fn as_json(told: &Diagnostic) -> Value {
    let (file, line, column) = match told.labels.first() {
        Some((origin, _)) => {
            let (line, column) = origin.position();
            (origin.source.name.clone(), line, column)
        }
        None => (String::new(), 0, 0),
    };
    let severity = if told.severity == Severity::Error { "error" } else { "warning" };
    json!({"severity": severity, "message": told.message, "file": file, "line": line, "column": column, "help": told.help})
}

fn sow(arguments: &cli::WriteSeed, context: &Context) -> Result<Status> {
    let asked = locking::evaluate(context, &arguments.image, &arguments.variant.set, arguments.variant.mode)?;
    let image = seed(&arguments.seed, context, &asked)?;
    let default = || format!("{}.seed.iso", asked.named.name).into();
    let path = arguments.output.clone().unwrap_or_else(default);
    disk::write_atomic(&path, &image, 0o600)?;
    let digest = Digest::of(&image);
    if context.ui.is_json() {
        context.ui.print_json(&json!({"seed": path, "size": image.len(), "sha256": digest}));
    } else {
        context.ui.print(path.display());
    }
    Ok(Status::Done)
}

/// The seed of an image, after what is on it was validated.
pub fn seed(files: &SeedFiles, context: &Context, asked: &Asked) -> Result<Vec<u8>> {
    let target = target(&asked.system)?;
    takes_part(&target, Some(Cloud::NoCloud))?;
    let seed = seed_of(files, context, asked, &target)?;
    seed::image(&seed).map_err(|error| Failure::request(error.to_string()))
}

/// Reads and validates what is on a seed.
fn seed_of(files: &SeedFiles, context: &Context, asked: &Asked, target: &Target) -> Result<Seed> {
    let read = |path: &Option<std::path::PathBuf>| path.as_deref().map(file).transpose();
    let (user, vendor, network) = (read(&files.user_data)?, read(&files.vendor_data)?, read(&files.network_config)?);
    let data: Vec<&(String, Vec<u8>)> = [&user, &vendor].into_iter().flatten().collect();
    valid(context, asked, target, Cloud::NoCloud, &data, network.as_ref())?;
    let bytes = |named: Option<(String, Vec<u8>)>| named.map(|(_, bytes)| bytes);
    let (user_data, vendor_data, network_config) =
        (bytes(user).unwrap_or_else(|| b"#cloud-config\n".to_vec()), bytes(vendor), bytes(network));
    let hostname = files.hostname.as_deref();
    let instance = files.instance_id.clone().unwrap_or_else(|| {
        let mut hash = Canonical::new("rave-instance-1");
        hash.field(&user_data).field(vendor_data.as_deref().unwrap_or_default());
        hash.field(network_config.as_deref().unwrap_or_default()).field(hostname.unwrap_or_default().as_bytes());
        format!("iid-{}", hash.finish().short())
    });
    let meta_data = seed::meta_data(&instance, hostname).map_err(|error| Failure::request(error.to_string()))?;
    Ok(Seed { meta_data, user_data, vendor_data, network_config })
}

/// An image, and what cloud-init does in it.
fn image(context: &Context, image: &str, variant: &Variant) -> Result<(Asked, Target)> {
    let asked = locking::evaluate(context, image, &variant.set, variant.mode)?;
    let target = target(&asked.system)?;
    Ok((asked, target))
}

fn target(system: &System) -> Result<Target> {
    let entry = system.tree.iter().find(|(path, _)| path.as_str() == CONFIGURATION).map(|(_, entry)| &entry.content);
    let Some(Content::File(bytes)) = entry else {
        return Err(Failure::request(format!("{} takes no user-data: it has no cloud-init", system.name))
            .hint("set cloud.enable: true in the image"));
    };
    let users = system.options.iter().find(|(option, _)| option.as_str() == "base.ssh.users");
    let users = users.and_then(|(_, users)| users.value.as_array()).into_iter().flatten();
    let logins: BTreeSet<String> = users.filter_map(Value::as_str).chain(["agent"]).map(str::to_owned).collect();
    Target::read(system.name.as_str(), &String::from_utf8_lossy(bytes), logins)
        .map_err(|told| Failure::Input(vec![told]))
}

/// Refuses a cloud that the image does not look for.
fn takes_part(target: &Target, cloud: Option<Cloud>) -> Result<()> {
    let Some(cloud) = cloud else { return Ok(()) };
    let names = crate::cloud::limits::datasources(cloud);
    if names.iter().any(|name| target.datasources.contains(*name)) {
        return Ok(());
    }
    Err(Failure::request(format!("{} does not look for user-data in {cloud}", target.image))
        .hint(format!("add {} to cloud.datasources in the image", names.join(" or "))))
}

/// cloud-init's schemas, of the very package that the image's lock names.
fn rules(context: &Context, asked: &Asked) -> Result<Rules> {
    let lock = locking::fitting(asked)?.map_err(|unfit| {
        let hint = format!("run `rave lock {}`", asked.named.typed);
        Failure::request(format!("{}: {unfit}", asked.named.lock().display())).hint(hint)
    })?;
    let package = lock.packages.iter().find(|package| package.name.as_str() == PACKAGE).cloned();
    let package =
        package.ok_or_else(|| Failure::request(format!("{PACKAGE} is not in {}", asked.named.lock().display())))?;
    let store = store::open(context)?;
    let fetcher = locking::fetcher(context, &asked.system, Some(&lock))?;
    let sha256 = package.sha256;
    let only = Lock { packages: vec![package], ..lock };
    let paths = fetcher.fetch_packages(&only, &asked.named.directory, &store, context.ui.as_ref())?;
    let path = paths.get(&sha256).ok_or_else(|| Failure::error(format!("{PACKAGE} was not fetched")))?;
    let [cloud_config, network_1, network_2] = Rules::FILES.map(|name| schema(path, name));
    Ok(Rules { cloud_config: cloud_config?, network_1: network_1?, network_2: network_2? })
}

/// One schema of the package.
fn schema(package: &Path, name: &str) -> Result<Value> {
    let wanted = Path::new(SCHEMAS).join(name);
    let mut found = None;
    let deb = Deb::open(package).map_err(Failure::error)?;
    deb.unpack(|entry, reader| {
        if entry.path == wanted && matches!(entry.kind, Kind::File(_)) {
            let mut bytes = Vec::new();
            found = Some(reader.take(LARGEST_SCHEMA).read_to_end(&mut bytes).map(|_| bytes));
        }
        Ok::<(), crate::debian::deb::Error>(())
    })
    .map_err(Failure::error)?;
    let bytes = found.ok_or_else(|| Failure::error(format!("this version of {PACKAGE} has no {name}")))?;
    serde_json::from_slice(&bytes.map_err(Failure::error)?).map_err(Failure::error)
}

/// A file and what to call it.
fn file(path: &Path) -> Result<(String, Vec<u8>)> {
    let bytes = disk::read_start(path, LARGEST + 1)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::request(format!("{} is larger than {} MiB", path.display(), LARGEST >> 20)));
    }
    Ok((path.display().to_string(), bytes))
}

/// Public keys that the SSH server takes, one a line.
fn public_keys(path: &Path) -> Result<Vec<String>> {
    let (name, bytes) = file(path)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let key = |(number, line): (usize, &str)| {
        let place = format!("{name}:{}", number + 1);
        let key = ssh_key::PublicKey::from_openssh(line)
            .map_err(|error| Failure::request(format!("{place}: this is no public key of OpenSSH: {error}")))?;
        let algorithm = key.algorithm();
        if !ALGORITHMS.contains(&algorithm.as_str()) {
            return Err(Failure::request(format!("{place}: the SSH server takes no {algorithm}"))
                .hint("make a key by `ssh-keygen -t ed25519`"));
        }
        Ok(line.to_owned())
    };
    let keys: Vec<String> = lines.map(key).collect::<Result<_>>()?;
    if keys.is_empty() { Err(Failure::request(format!("{name} holds no public key"))) } else { Ok(keys) }
}

/// An identity, as it is in its file.
fn identity(path: &Path) -> Result<zeroize::Zeroizing<String>> {
    let bytes = zeroize::Zeroizing::new(file(path)?.1);
    let text = std::str::from_utf8(&bytes).ok().filter(|text| text.contains("AGE-SECRET-KEY-"));
    let text = text.ok_or_else(|| Failure::request(format!("{} holds no age identity", path.display())))?;
    Ok(zeroize::Zeroizing::new(text.to_owned()))
}

/// Holds what cloud-init is told, user-data and the like and a network configuration, against the image: warnings are told,
/// errors end it.
///
/// # Errors
/// What does not fit, and an image without cloud-init or its schema.
pub fn expect(context: &Context, asked: &Asked, cloud: Cloud, data: &[&Path], network: Option<&Path>) -> Result<()> {
    let target = target(&asked.system)?;
    takes_part(&target, Some(cloud))?;
    if data.is_empty() && network.is_none() {
        return Ok(());
    }
    let data = data.iter().map(|path| file(path)).collect::<Result<Vec<_>>>()?;
    let network = network.map(file).transpose()?;
    valid(context, asked, &target, cloud, &data.iter().collect::<Vec<_>>(), network.as_ref())
}

/// Refuses user-data and a network configuration, by their names, that do not fit, and tells what is doubtful.
fn valid(
    context: &Context,
    asked: &Asked,
    target: &Target,
    cloud: Cloud,
    data: &[&(String, Vec<u8>)],
    network: Option<&(String, Vec<u8>)>,
) -> Result<()> {
    let rules = rules(context, asked)?;
    let mut found = Vec::new();
    for (name, bytes) in data {
        found.extend(validate::user_data(name, bytes, &rules, target, Some(cloud)).map_err(Failure::error)?);
    }
    if let Some((name, bytes)) = network {
        found.extend(validate::network_config(name, bytes, &rules).map_err(Failure::error)?);
    }
    let (wrong, doubtful): (Vec<_>, Vec<_>) = found.into_iter().partition(|told| told.severity == Severity::Error);
    context.ui.diagnostics(&doubtful);
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Input(wrong)) }
}

//! Amazon EC2's instance metadata service, version 2: nothing without a token (Amazon EC2 User Guide, "Use IMDS").

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use super::tree::Tree;
use super::{Instance, Request, Response};

/// Versions of the interface, the oldest first.
const VERSIONS: [&str; 5] = ["2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "latest"];
/// The longest time that a token may be good for, in seconds.
const LONGEST: u64 = 21_600;
/// Where the machine is said to be.
const REGION: &str = "eu-central-1";
const ZONE: &str = "eu-central-1a";
const ACCOUNT: &str = "123456789012";

/// The response to one request; `key` signs tokens.
pub fn respond(instance: &Instance, key: &[u8], request: &Request, now: Duration) -> Response {
    let parts = request.parts();
    if parts == ["latest", "api", "token"] {
        return give_token(key, request, now);
    }
    if request.method != "GET" {
        return Response::status(405);
    }
    let token = request.header("x-aws-ec2-metadata-token").unwrap_or_default();
    if !is_good(key, token, now) {
        return Response::status(401);
    }
    browse(instance, &parts)
}

/// What lies at a path, for who may see it.
pub fn browse(instance: &Instance, parts: &[&str]) -> Response {
    match parts {
        [] => Response::text(VERSIONS.join("\n")),
        [version, ..] if !VERSIONS.contains(version) => Response::status(404),
        [_] => Response::text("dynamic\nmeta-data\nuser-data"),
        [_, "user-data"] if !instance.user_data.is_empty() => {
            Response::of("application/octet-stream", instance.user_data.clone())
        }
        // Its entries have a form of their own.
        [_, "meta-data", "public-keys"] if !instance.public_keys.is_empty() => {
            let each = (0..instance.public_keys.len()).map(|index| format!("{index}=key-{index}"));
            Response::text(each.collect::<Vec<_>>().join("\n"))
        }
        [_, "meta-data", rest @ ..] => found(metadata(instance).get(rest)),
        [_, "dynamic", rest @ ..] => found(dynamic(instance).get(rest)),
        _ => Response::status(404),
    }
}

fn found(value: Option<String>) -> Response {
    value.map_or_else(|| Response::status(404), Response::text)
}

/// What the machine is called.
fn id(instance: &Instance) -> String {
    format!("i-{:.17}", instance.digits().get(3..).unwrap_or_default())
}

fn host_name(instance: &Instance) -> String {
    format!("ip-{}.{REGION}.compute.internal", instance.address.to_string().replace('.', "-"))
}

fn metadata(instance: &Instance) -> Tree {
    let (mut tree, id, name) = (Tree::default(), id(instance), host_name(instance));
    let (mac, address) = (instance.mac(":"), instance.address.to_string());
    for (path, value) in [
        ("ami-id", "ami-0123456789abcdef0"),
        ("ami-launch-index", "0"),
        ("block-device-mapping/ami", "/dev/xvda"),
        ("block-device-mapping/root", "/dev/xvda"),
        ("hostname", &name),
        ("instance-action", "none"),
        ("instance-id", &id),
        ("instance-life-cycle", "on-demand"),
        ("instance-type", "t3.small"),
        ("local-hostname", &name),
        ("local-ipv4", &address),
        ("mac", &mac),
        ("placement/availability-zone", ZONE),
        ("placement/region", REGION),
        ("reservation-id", "r-0123456789abcdef0"),
        ("security-groups", "default"),
        ("services/domain", "amazonaws.com"),
        ("services/partition", "aws"),
    ] {
        tree.set(path, value);
    }
    for (name, value) in [
        ("device-number", "0"),
        ("interface-id", "eni-0123456789abcdef0"),
        ("local-hostname", &name),
        ("local-ipv4s", &address),
        ("mac", &mac),
        ("owner-id", ACCOUNT),
        ("security-groups", "default"),
        ("subnet-id", "subnet-0123456789abcdef0"),
        ("subnet-ipv4-cidr-block", "10.0.2.0/24"),
        ("vpc-id", "vpc-0123456789abcdef0"),
        ("vpc-ipv4-cidr-block", "10.0.0.0/16"),
    ] {
        tree.set(&format!("network/interfaces/macs/{mac}/{name}"), value);
    }
    for (index, key) in instance.public_keys.iter().enumerate() {
        tree.set(&format!("public-keys/{index}/openssh-key"), key);
    }
    tree
}

fn dynamic(instance: &Instance) -> Tree {
    let mut tree = Tree::default();
    let document = json!({
        "accountId": ACCOUNT, "architecture": "x86_64", "availabilityZone": ZONE, "imageId": "ami-0123456789abcdef0",
        "instanceId": id(instance), "instanceType": "t3.small", "privateIp": instance.address.to_string(),
        "region": REGION, "version": "2017-09-30",
    });
    tree.set("instance-identity/document", document.to_string());
    tree
}

fn give_token(key: &[u8], request: &Request, now: Duration) -> Response {
    if request.method != "PUT" {
        return Response::status(405);
    }
    // Requests that came through a proxy get none.
    if request.header("x-forwarded-for").is_some() {
        return Response::status(403);
    }
    let seconds = request.header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|text| text.parse::<u64>().ok());
    match seconds.filter(|seconds| (1..=LONGEST).contains(seconds)) {
        Some(seconds) => {
            let end = now.as_secs().saturating_add(seconds);
            Response::text(sign(key, end)).with("X-aws-ec2-metadata-token-ttl-seconds", seconds.to_string())
        }
        None => Response::status(400),
    }
}

/// A token says until when it is good, and that we said so.
fn sign(key: &[u8], end: u64) -> String {
    let end = end.to_be_bytes();
    BASE64_URL_SAFE_NO_PAD.encode([&end[..], &code(key, end).finalize().into_bytes()].concat())
}

fn is_good(key: &[u8], token: &str, now: Duration) -> bool {
    let Ok(bytes) = BASE64_URL_SAFE_NO_PAD.decode(token) else { return false };
    let Some((end, signature)) = bytes.split_first_chunk::<8>() else { return false };
    code(key, *end).verify_slice(signature).is_ok() && now.as_secs() < u64::from_be_bytes(*end)
}

fn code(key: &[u8], end: [u8; 8]) -> Hmac<Sha256> {
    // Any length of key will do (RFC 2104).
    let mut code = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    code.update(&end);
    code
}

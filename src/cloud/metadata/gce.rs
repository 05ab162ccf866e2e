//! Google Compute Engine's metadata server: nothing without its header (Compute Engine documentation, "Query VM
//! metadata").

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Instance, Request, Response};

const PROJECT: &str = "rehearsal";
const ZONE: &str = "projects/123456789012/zones/europe-west3-a";

/// The response to one request.
pub fn respond(instance: &Instance, request: &Request) -> Response {
    let response = answer(instance, request);
    response.with("Metadata-Flavor", "Google").with("Server", "Metadata Server for VM")
}

fn answer(instance: &Instance, request: &Request) -> Response {
    let parts = request.parts();
    if parts.is_empty() {
        return Response::text("computeMetadata/\n");
    }
    // A request that came through a proxy is refused.
    if request.header("metadata-flavor") != Some("Google") || request.header("x-forwarded-for").is_some() {
        return Response::status(403);
    }
    // Host keys are published so; that they arrived is all that is said of them.
    if request.method == "PUT" && parts.starts_with(&["computeMetadata", "v1", "instance", "guest-attributes"]) {
        return Response::text("");
    }
    if request.method != "GET" {
        return Response::status(405);
    }
    let ["computeMetadata", "v1", rest @ ..] = parts.as_slice() else { return Response::status(404) };
    let document = document(instance);
    let value = rest.iter().try_fold(&document, |value, part| value.get(part));
    let recursive = request.parameter("recursive").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    match value {
        None => Response::status(404),
        Some(Value::String(text)) => Response::of("application/text", text.clone()),
        Some(value) if recursive => Response::json(value),
        Some(Value::Object(entries)) => {
            let slash = |value: &Value| if value.is_object() { "/" } else { "" };
            let each = entries.iter().map(|(name, value)| format!("{name}{}\n", slash(value)));
            Response::of("application/text", each.collect::<String>())
        }
        Some(value) => Response::of("application/text", value.to_string()),
    }
}

fn document(instance: &Instance) -> Value {
    let id = u64::from_str_radix(instance.digits().get(..15).unwrap_or_default(), 16).unwrap_or(1);
    let keys: Vec<String> = instance.public_keys.iter().map(|key| format!("{}:{key}", instance.user)).collect();
    let mut attributes = json!({ "ssh-keys": keys.join("\n"), "block-project-ssh-keys": "true" });
    if !instance.user_data.is_empty() {
        // Values are text, so bytes are encoded.
        attributes["user-data"] = BASE64_STANDARD.encode(&instance.user_data).into();
        attributes["user-data-encoding"] = "base64".into();
    }
    json!({
        "instance": {
            "attributes": attributes,
            "hostname": format!("{}.europe-west3-a.c.{PROJECT}.internal", instance.name),
            "id": id,
            "machine-type": "projects/123456789012/machineTypes/e2-small",
            "name": instance.name,
            "network-interfaces": { "0": {
                "ip": instance.address.to_string(), "mac": instance.mac(":"), "mtu": 1460,
            } },
            "zone": ZONE,
        },
        "project": { "attributes": {}, "numeric-project-id": 123_456_789_012_u64, "project-id": PROJECT },
    })
}

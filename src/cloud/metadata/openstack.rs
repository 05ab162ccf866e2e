//! OpenStack's metadata service (Nova documentation, "Metadata"), with the one of EC2 that it has beside.

use serde_json::{Value, json};

use super::{Instance, Request, Response, ec2};

/// Versions of the interface that cloud-init knows, the oldest first.
const VERSIONS: [&str; 4] = ["2012-08-10", "2016-10-06", "2018-08-27", "latest"];

/// What each of them has.
const FILES: [&str; 5] = ["meta_data.json", "network_data.json", "user_data", "vendor_data.json", "vendor_data2.json"];
/// Label of the disk that has the same as the service, by which ds-identify finds it.
pub const LABEL: &str = "config-2";

/// What is on that disk, by path.
pub fn drive(instance: &Instance) -> Vec<(String, Vec<u8>)> {
    let file = |version: &str, name: &str| {
        let Response { status, body, .. } = browse(instance, &[name]);
        (status == 200).then(|| (format!("openstack/{version}/{name}"), body))
    };
    VERSIONS.iter().flat_map(|version| FILES.iter().filter_map(move |name| file(version, name))).collect()
}

/// The response to one request.
pub fn respond(instance: &Instance, request: &Request) -> Response {
    if request.method != "GET" {
        return Response::status(405);
    }
    match request.parts().as_slice() {
        [] => Response::text("2009-04-04\nlatest\n"),
        ["openstack"] => Response::text(VERSIONS.join("\n")),
        ["openstack", version, rest @ ..] if VERSIONS.contains(version) => browse(instance, rest),
        ["openstack", ..] => Response::status(404),
        parts => ec2::browse(instance, parts),
    }
}

fn browse(instance: &Instance, parts: &[&str]) -> Response {
    match parts {
        [] => Response::text(FILES.map(|name| format!("{name}\n")).concat()),
        ["meta_data.json"] => Response::json(&metadata(instance)),
        ["network_data.json"] => Response::json(&network(instance)),
        // What an operator has in a file for all machines (Nova's StaticJSON), and what cloud-init reads of that.
        ["vendor_data.json"] => match &instance.vendor_data {
            Some(text) => Response::json(&json!({ "cloud-init": text })),
            None => Response::json(&json!({})),
        },
        ["vendor_data2.json"] => Response::json(&json!({})),
        ["user_data"] if !instance.user_data.is_empty() => {
            Response::of("application/octet-stream", instance.user_data.clone())
        }
        _ => Response::status(404),
    }
}

fn metadata(instance: &Instance) -> Value {
    let named =
        instance.public_keys.iter().enumerate().map(|(index, key)| (format!("key-{index}"), key.clone().into()));
    json!({
        "uuid": instance.uuid,
        "name": instance.name,
        "hostname": format!("{}.novalocal", instance.name),
        "availability_zone": "nova",
        "launch_index": 0,
        "project_id": "0123456789abcdef0123456789abcdef",
        "public_keys": Value::Object(named.collect()),
        "meta": {},
        "devices": [],
    })
}

fn network(instance: &Instance) -> Value {
    json!({
        "links": [{
            "id": "tap0", "vif_id": instance.uuid, "type": "ovs", "mtu": 1500, "ethernet_mac_address": instance.mac(":"),
        }],
        "networks": [{ "id": "network0", "type": "ipv4_dhcp", "link": "tap0", "network_id": instance.uuid }],
        "services": [],
    })
}

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const USER_DATA: &[u8] = b"#cloud-config\nhostname: web\n";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2HMZCnsFmAkPJvBDzNMvMoyVVmAdtgYV7CkUmsiPFj";

fn instance(cloud: Cloud) -> Instance {
    Instance {
        cloud,
        uuid: "ec2e1916-9099-8caf-8d21-012345abcdef".to_owned(),
        name: "web".to_owned(),
        user: "agent".to_owned(),
        public_keys: vec![KEY.to_owned()],
        user_data: USER_DATA.to_vec(),
        vendor_data: None,
        mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
        address: Ipv4Addr::new(10, 0, 2, 15),
    }
}

fn service(cloud: Cloud, fault: Option<Fault>) -> Metadata {
    Metadata::new(instance(cloud), [7; 32], fault)
}

/// A request of one line and headers, as it goes over the wire.
fn wire(line: &str, headers: &[&str]) -> Vec<u8> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{line} HTTP/1.1\r\nHost: 169.254.169.254\r\n{headers}\r\n").into_bytes()
}

/// Status and body of the answer.
fn ask(service: &Metadata, at: Ipv4Addr, line: &str, headers: &[&str], seconds: u64) -> (u16, String) {
    let reply = service.reply(at, &wire(line, headers), Duration::from_secs(seconds));
    let Reply::Response(bytes) = reply else { panic!("{line}: {reply:?}") };
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn ec2_says_nothing_without_a_token_that_is_good() {
    let service = service(Cloud::Ec2, None);
    let get = |token: &str, path: &str, seconds| {
        ask(&service, METADATA, &format!("GET {path}"), &[&format!("X-aws-ec2-metadata-token: {token}")], seconds)
    };
    let id = "/latest/meta-data/instance-id";
    assert_eq!(ask(&service, METADATA, &format!("GET {id}"), &[], 0).0, 401);
    for (header, status) in [
        ("X-Nothing: 1", 400),
        ("X-aws-ec2-metadata-token-ttl-seconds: 0", 400),
        ("X-aws-ec2-metadata-token-ttl-seconds: 21601", 400),
        ("X-aws-ec2-metadata-token-ttl-seconds: soon", 400),
    ] {
        assert_eq!(ask(&service, METADATA, "PUT /latest/api/token", &[header], 0).0, status, "{header}");
    }
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    assert_eq!(ask(&service, METADATA, "PUT /latest/api/token", &[ttl, "X-Forwarded-For: 10.0.0.1"], 0).0, 403);
    let (status, token) = ask(&service, METADATA, "PUT /latest/api/token", &[ttl], 100);
    assert_eq!(status, 200);
    assert_eq!(get(&token, id, 159), (200, "i-e19169099".to_owned() + "8caf8d21"));
    assert_eq!(get(&token, id, 160).0, 401, "it has ended");
    let mut other = token.clone();
    other.replace_range(..1, if token.starts_with('A') { "B" } else { "A" });
    assert_eq!(get(&other, id, 100).0, 401, "it was changed");
    let foreign = Metadata::new(instance(Cloud::Ec2), [8; 32], None);
    assert_eq!(
        ask(&foreign, METADATA, &format!("GET {id}"), &[&format!("X-aws-ec2-metadata-token: {token}")], 0).0,
        401
    );

    let body = |path: &str| get(&token, path, 100).1;
    assert_eq!(body("/2021-03-23/user-data").as_bytes(), USER_DATA);
    assert_eq!(body("/latest/meta-data/public-keys/"), "0=key-0");
    assert_eq!(body("/latest/meta-data/public-keys/0/openssh-key"), KEY);
    assert_eq!(body("/latest/meta-data/network/interfaces/macs/"), "52:54:00:12:34:56/");
    assert!(body("/latest/meta-data/").lines().any(|line| line == "placement/"));
    let document: Value = serde_json::from_str(&body("/latest/dynamic/instance-identity/document")).unwrap();
    assert_eq!(document["instanceId"], body(id));
    for (path, status) in [("/1999-01-01/meta-data/", 404), ("/latest/meta-data/moon", 404), ("/../etc/passwd", 404)] {
        assert_eq!(get(&token, path, 100).0, status, "{path}");
    }
}

#[test]
fn gce_says_nothing_without_its_header() {
    let service = service(Cloud::Gce, None);
    let get = |path: &str| {
        ask(&service, METADATA, &format!("GET /computeMetadata/v1/{path}"), &["Metadata-Flavor: Google"], 0)
    };
    for headers in [&[][..], &["Metadata-Flavor: google"], &["Metadata-Flavor: Google", "X-Forwarded-For: 1.2.3.4"]] {
        assert_eq!(ask(&service, METADATA, "GET /computeMetadata/v1/instance/id", headers, 0).0, 403);
    }
    assert!(get("instance/id").1.parse::<u64>().is_ok());
    assert_eq!(get("instance/hostname").1, "web.europe-west3-a.c.rehearsal.internal");
    let attributes: Value = serde_json::from_str(&get("instance/attributes/?recursive=True").1).unwrap();
    assert_eq!(attributes["ssh-keys"], format!("agent:{KEY}"));
    assert_eq!(attributes["user-data-encoding"], "base64");
    assert!(get("instance/").1.lines().any(|line| line == "network-interfaces/"));
    assert_eq!(get("instance/moon").0, 404);
    assert_eq!(ask(&service, METADATA, "GET /", &[], 0).0, 200, "how a machine tells that it is there");
}

#[test]
fn azure_has_a_metadata_service_and_a_wire_server() {
    let service = service(Cloud::Azure, None);
    let path = "GET /metadata/instance?api-version=2021-08-01&extended=true";
    for (line, headers) in [
        (path, &[][..]),
        ("GET /metadata/instance", &["Metadata: true"]),
        (path, &["Metadata: true", "X-Forwarded-For: 1.2.3.4"]),
    ] {
        assert_eq!(ask(&service, METADATA, line, headers, 0).0, 400, "{line} {headers:?}");
    }
    let document: Value = serde_json::from_str(&ask(&service, METADATA, path, &["Metadata: true"], 0).1).unwrap();
    assert_eq!(document["compute"]["osProfile"]["adminUsername"], "agent");
    assert_eq!(document["network"]["interface"][0]["macAddress"], "525400123456");
    assert_eq!(document["extended"]["compute"]["ppsType"], "None");
    let extended = &document["extended"]["compute"];
    assert_eq!((&extended["hasCustomData"], &document["compute"]["userData"]), (&true.into(), &"".into()));
    let version = "x-ms-version: 2012-11-30";
    let (status, goal) = ask(&service, WIRE_SERVER, "GET /machine/?comp=goalstate", &[version], 0);
    assert!(status == 200 && goal.contains("<Incarnation>1<") && goal.contains("<ContainerId>ec2e1916-"), "{goal}");
    assert_eq!(ask(&service, WIRE_SERVER, "POST /machine?comp=health", &[version, "Content-Length: 0"], 0).0, 200);
    assert_eq!(ask(&service, WIRE_SERVER, path, &["Metadata: true"], 0).0, 404, "each address has its own");
    let named = Instance { name: "a<b&c".to_owned(), ..instance(Cloud::Azure) };
    let text = String::from_utf8(azure::provisioning(&named)).unwrap();
    assert!(text.contains("<ns1:HostName>a&lt;b&amp;c</ns1:HostName>"), "{text}");
}

/// As `rave deploy` has it: `az vm create --custom-data`.
#[test]
fn azure_has_user_data_in_its_provisioning_document_alone() {
    let read = |user_data: &[u8]| {
        let instance = Instance { user_data: user_data.to_vec(), ..instance(Cloud::Azure) };
        let text = String::from_utf8(azure::provisioning(&instance)).unwrap();
        let set = text.split_once("<ns1:LinuxProvisioningConfigurationSet>").unwrap().1;
        let set = set.split_once("</ns1:LinuxProvisioningConfigurationSet>").unwrap().0;
        let data = set.split_once("<ns1:CustomData>").map(|(_, rest)| rest.split_once("</ns1:CustomData>").unwrap().0);
        let data = data.map(|data| BASE64_STANDARD.decode(data).unwrap());
        let path = "GET /metadata/instance/extended/compute/hasCustomData?api-version=2021-08-01&extended=true";
        let service = Metadata::new(instance, [7; 32], None);
        (data, ask(&service, METADATA, path, &["Metadata: true"], 0).1)
    };
    assert_eq!(read(USER_DATA), (Some(USER_DATA.to_vec()), "true".to_owned()));
    assert_eq!(read(b""), (None, "false".to_owned()));
}

#[test]
fn openstack_lists_its_versions_and_has_what_ec2_has() {
    let service = service(Cloud::OpenStack, None);
    let get = |path: &str| ask(&service, METADATA, &format!("GET {path}"), &[], 0);
    assert!(get("/openstack").1.lines().any(|line| line == "latest"));
    let metadata: Value = serde_json::from_str(&get("/openstack/latest/meta_data.json").1).unwrap();
    assert_eq!(
        (&metadata["uuid"], &metadata["public_keys"]["key-0"]),
        (&instance(Cloud::Ec2).uuid.into(), &KEY.into())
    );
    let network: Value = serde_json::from_str(&get("/openstack/2018-08-27/network_data.json").1).unwrap();
    assert_eq!(network["links"][0]["ethernet_mac_address"], "52:54:00:12:34:56");
    assert_eq!(get("/openstack/latest/user_data").1.as_bytes(), USER_DATA);
    assert_eq!(get("/openstack/2099-01-01/meta_data.json").0, 404);
    for version in ["2012-08-10", "latest"] {
        assert_eq!(get(&format!("/openstack/{version}/vendor_data.json")), (200, "{}".to_owned()));
    }
    assert_eq!(get("/latest/meta-data/local-ipv4").1, "10.0.2.15");
}

#[test]
fn a_config_drive_has_what_the_service_has() {
    let service = service(Cloud::OpenStack, None);
    let drive = openstack::drive(&instance(Cloud::ConfigDrive));
    assert_eq!(drive.len(), 4 * 5);
    for (path, content) in &drive {
        let served = ask(&service, METADATA, &format!("GET /{path}"), &[], 0);
        assert_eq!((served.0, served.1.as_bytes()), (200, content.as_slice()), "{path}");
    }
    let files: Vec<(&str, &[u8])> = drive.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    assert!(crate::cloud::iso::image(openstack::LABEL, &files).is_ok());
    let beside = self::service(Cloud::ConfigDrive, None);
    assert_eq!(ask(&beside, METADATA, "GET /openstack/latest/meta_data.json", &[], 0).0, 404);
    let bare = Instance { user_data: Vec::new(), ..instance(Cloud::ConfigDrive) };
    assert!(!openstack::drive(&bare).iter().any(|(path, _)| path.ends_with("user_data")));
}

#[test]
fn openstack_has_vendor_data_as_cloud_init_reads_it_and_others_have_none() {
    let vendor = "#!/bin/sh\necho of-the-vendor\n";
    let told = |cloud| Instance { vendor_data: Some(vendor.to_owned()), ..instance(cloud) };
    let served = |cloud, path: &str| {
        let service = Metadata::new(told(cloud), [7; 32], None);
        ask(&service, METADATA, &format!("GET {path}"), &["Metadata-Flavor: Google", "Metadata: true"], 0)
    };
    let json = "{\"cloud-init\":\"#!/bin/sh\\necho of-the-vendor\\n\"}";
    assert_eq!(served(Cloud::OpenStack, "/openstack/latest/vendor_data.json"), (200, json.to_owned()));
    assert_eq!(served(Cloud::OpenStack, "/openstack/latest/vendor_data2.json"), (200, "{}".to_owned()));
    let drive = openstack::drive(&told(Cloud::ConfigDrive));
    let file = drive.iter().find(|(path, _)| path == "openstack/latest/vendor_data.json").unwrap();
    assert_eq!(file.1, json.as_bytes());
    for (cloud, path) in [
        (Cloud::Gce, "/computeMetadata/v1/?recursive=true"),
        (Cloud::Azure, "/metadata/instance?api-version=2021-08-01&extended=true"),
    ] {
        let (status, all) = served(cloud, path);
        assert!(status == 200 && !all.contains("of-the-vendor"), "{cloud}: {all}");
    }
}

#[test]
fn without_user_data_there_is_none() {
    for (cloud, path, headers) in [
        (Cloud::OpenStack, "/openstack/latest/user_data", &[][..]),
        (Cloud::Gce, "/computeMetadata/v1/instance/attributes/user-data", &["Metadata-Flavor: Google"]),
    ] {
        let bare = Instance { user_data: Vec::new(), public_keys: Vec::new(), ..instance(cloud) };
        let service = Metadata::new(bare, [7; 32], None);
        assert_eq!(ask(&service, METADATA, &format!("GET {path}"), headers, 0).0, 404, "{cloud}");
    }
}

#[test]
fn faults_are_what_they_are_called() {
    let line = "GET /openstack/latest/meta_data.json";
    let faulty = |fault| service(Cloud::OpenStack, Some(fault));
    assert_eq!(ask(&faulty(Fault::Error), METADATA, line, &[], 0).0, 500);
    assert!(ask(&faulty(Fault::Lie), METADATA, line, &[], 0).1.contains("log in"));
    assert_eq!(faulty(Fault::Hang).reply(METADATA, &wire(line, &[]), Duration::ZERO), Reply::Nothing);
}

#[test]
fn secrets_are_not_printed() {
    let text = format!("{:?}", service(Cloud::Ec2, None));
    assert!(!text.contains("hostname") && !text.contains('7') && !text.contains("AAAA"), "{text}");
}

#[test]
fn a_request_is_read_when_it_is_whole() {
    let whole = b"POST /a/b?c=d HTTP/1.1\r\nContent-Length: 3\r\nX-Y:  z \r\n\r\nxyz";
    for length in 0..whole.len() {
        assert_eq!(parse(&whole[..length]), Parsed::More, "{length}");
    }
    let Parsed::Request(request) = parse(&[&whole[..], b"GET / HTTP/1.1"].concat()) else { panic!("no request") };
    assert_eq!(
        (request.method.as_str(), request.path.as_str(), request.body.as_slice()),
        ("POST", "/a/b", &b"xyz"[..])
    );
    assert_eq!((request.parameter("c"), request.header("x-y")), (Some("d"), Some("z")));
}

#[test]
fn what_is_unusual_is_refused() {
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
    for (text, status) in [
        ("nonsense\r\n\r\n", 400),
        ("GET http://169.254.169.254/ HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413),
        ("GET / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", 413),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
        (&long, 431),
        (&many, 431),
    ] {
        assert_eq!(parse(text.as_bytes()), Parsed::Refused(status), "{:.60}", text);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered_or_waited_for(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        parse(&bytes);
    }

    #[test]
    fn a_request_that_is_damaged_anywhere_does_no_harm(
        path in "[/a-z0-9.?=&%-]{0,60}",
        header in "[ -~]{0,40}",
        at in 0_usize..200,
        value: u8,
        cloud in prop::sample::select(Cloud::ALL.to_vec()),
        address in prop::sample::select(vec![METADATA, WIRE_SERVER]),
    ) {
        let mut bytes = wire(&format!("GET /{path}"), &["Metadata-Flavor: Google", "Metadata: true", &header]);
        let service = service(cloud, None);
        service.reply(address, &bytes, Duration::ZERO);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        service.reply(address, &bytes, Duration::MAX);
    }
}

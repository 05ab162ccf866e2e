use std::sync::Arc;

use super::super::Service;
use super::*;

const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// Answers a line with its length and 100 kB of the letter it begins with, and `hang` with nothing.
struct Echo;

impl Service for Echo {
    fn answer(&self, at: SocketAddrV4, received: &[u8], _: Duration) -> Said {
        assert_eq!(at, SERVER);
        match received.split_last() {
            _ if received == b"hang\n" => Said::Nothing,
            Some((b'\n', line)) => {
                let letter = line.first().copied().unwrap_or(b' ');
                Said::Answer([line.len().to_string().as_bytes(), &vec![letter; 100_000]].concat())
            }
            _ => Said::More,
        }
    }
}

/// A client in a network with nobody but the host.
struct Client {
    interface: Interface,
    sockets: SocketSet<'static>,
    line: Line,
    host: Host,
    now: Duration,
    next: u16,
}

impl Client {
    fn new() -> Self {
        let mut line = Line::default();
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut line, instant(Duration::ZERO));
        interface.update_ip_addrs(|known| known.push(IpCidr::new(CLIENT.into(), 24)).unwrap());
        interface.routes_mut().add_default_ipv4_route(Ipv4Addr::new(10, 0, 2, 2)).unwrap();
        let host = Host::new(&[SERVER], Answering(Arc::new(Echo)), 7);
        Self { interface, sockets: SocketSet::new(Vec::new()), line, host, now: Duration::ZERO, next: 40_000 }
    }

    fn connect(&mut self) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; 65_000]);
        let handle = self.sockets.add(Socket::new(buffer(), buffer()));
        self.next += 1;
        let socket = self.sockets.get_mut::<Socket<'_>>(handle);
        socket.connect(self.interface.context(), (*SERVER.ip(), SERVER.port()), self.next).unwrap();
        self.pass(Duration::from_millis(10));
        handle
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn send(&mut self, handle: SocketHandle, bytes: &[u8]) {
        self.socket(handle).send_slice(bytes).unwrap();
        self.pass(Duration::from_millis(10));
    }

    /// Lets time go by, and packets to and fro.
    fn pass(&mut self, time: Duration) {
        for _ in 0..10 {
            self.now += time / 10;
            self.interface.poll(instant(self.now), &mut self.line, &mut self.sockets);
            for packet in self.line.outgoing.drain(..) {
                self.host.take(&packet);
            }
            self.line.incoming.extend(self.host.turn(self.now));
        }
    }

    /// All that comes until the server has closed.
    fn rest(&mut self, handle: SocketHandle) -> Vec<u8> {
        let mut all = Vec::new();
        for _ in 0..200 {
            self.pass(Duration::from_millis(20));
            let socket = self.socket(handle);
            while socket.can_recv() {
                socket.recv(|bytes| (bytes.len(), all.extend_from_slice(bytes))).unwrap();
            }
            if !socket.may_recv() {
                socket.close();
                self.pass(Duration::from_millis(20));
                return all;
            }
        }
        panic!("the server does not end, after {} bytes", all.len());
    }
}

#[test]
fn many_clients_at_once_and_one_after_the_other_get_all_of_their_answers() {
    let mut client = Client::new();
    for _ in 0..5 {
        let handles: Vec<SocketHandle> = (0..CONNECTIONS).map(|_| client.connect()).collect();
        for (index, handle) in handles.iter().enumerate() {
            client.send(*handle, &[b'a' + u8::try_from(index).unwrap(), b'x']);
        }
        handles.iter().for_each(|handle| client.send(*handle, b"yz\n"));
        for (index, handle) in handles.iter().enumerate() {
            let all = client.rest(*handle);
            assert_eq!((all.len(), all[0], all[50_000]), (100_001, b'4', b'a' + u8::try_from(index).unwrap()));
        }
    }
}

#[test]
fn who_comes_when_all_places_are_taken_is_refused_and_silence_ends() {
    let mut client = Client::new();
    let handles: Vec<SocketHandle> = (0..CONNECTIONS).map(|_| client.connect()).collect();
    handles.iter().for_each(|handle| client.send(*handle, b"hang\n"));
    let refused = client.connect();
    client.pass(Duration::from_secs(1));
    assert_eq!(client.socket(refused).state(), State::Closed);
    assert!(handles.iter().all(|handle| client.sockets.get::<Socket<'_>>(*handle).is_open()));
    client.pass(LIFETIME);
    client.pass(Duration::from_secs(2));
    let handle = client.connect();
    client.send(handle, b"again\n");
    assert_eq!(client.rest(handle).len(), 100_001);
}

#[test]
fn a_client_that_talks_without_end_is_cut_off() {
    let mut client = Client::new();
    let handle = client.connect();
    for _ in 0..LONGEST / 4_000 + 20 {
        if !client.socket(handle).may_send() {
            return;
        }
        client.socket(handle).send_slice(&[b'a'; 4_000]).unwrap();
        client.pass(Duration::from_millis(20));
    }
    panic!("it goes on");
}

#[test]
fn a_client_that_leaves_and_one_that_resets_take_no_place() {
    let mut client = Client::new();
    for round in 0..3 * CONNECTIONS {
        let handle = client.connect();
        client.send(handle, b"half");
        if round % 2 == 0 {
            client.socket(handle).abort()
        } else {
            client.socket(handle).close()
        }
        client.pass(Duration::from_millis(100));
    }
    let handle = client.connect();
    client.send(handle, b"whole\n");
    assert_eq!(client.rest(handle).len(), 100_001);
}

proptest::proptest! {
    #[test]
    fn any_packet_does_no_harm(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        first in proptest::prelude::any::<bool>(),
    ) {
        let mut host = Host::new(&[SERVER], Answering(Arc::new(Echo)), 7);
        let mut packet = bytes;
        // As far as a header that is looked at.
        if first && packet.len() >= 20 {
            let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
            packet[..4].copy_from_slice(&[0x45, 0, length[0], length[1]]);
            packet[6..10].copy_from_slice(&[0, 0, 64, 6]);
            packet[16..20].copy_from_slice(&SERVER.ip().octets());
            smoltcp::wire::Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
        }
        host.take(&packet);
        host.turn(Duration::from_secs(1));
    }
}

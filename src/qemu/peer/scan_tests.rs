use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::frame::tests::reply;
use super::*;

const HASTY: Duration = Duration::from_millis(300);
const HERE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const THERE: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

/// A guest at the other end of the wire.
struct Guest {
    it: Host,
    open: Vec<u16>,
    refused: Vec<u16>,
    answers: VecDeque<Vec<u8>>,
    /// Frames that get lost on the way there, by number, and how many came so far.
    lost: Vec<usize>,
    seen: usize,
    /// Half-open connections.
    half_open: i64,
}

impl Guest {
    fn new(ip: IpAddr, open: &[u16], refused: &[u16]) -> Self {
        let (it, open, refused) = (Host { mac: THERE, ip }, open.to_vec(), refused.to_vec());
        Self { it, open, refused, answers: VecDeque::new(), lost: Vec::new(), seen: 0, half_open: 0 }
    }
}

impl Line for Guest {
    fn send(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        for sent in frames {
            self.seen += 1;
            if self.lost.contains(&self.seen) {
                continue;
            }
            match frame::hear(sent) {
                Some(Heard::Tcp { reply: None, to, .. }) if self.open.contains(&to) => self.half_open += 1,
                Some(Heard::Tcp { reply: Some(Reply::Closed), .. }) => self.half_open -= 1,
                _ => {}
            }
            self.answers.extend(reply(self.it, sent, &self.open, &self.refused));
        }
        Ok(())
    }

    fn receive(&mut self, time: Duration) -> io::Result<Option<Vec<u8>>> {
        let next = self.answers.pop_front();
        if next.is_none() {
            std::thread::sleep(time.min(Duration::from_millis(1)));
        }
        Ok(next)
    }
}

fn ways() -> [(IpAddr, IpAddr); 2] {
    [(Ipv4Addr::new(10, 0, 2, 100).into(), Ipv4Addr::new(10, 0, 2, 15).into()), {
        let address = |last| Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, last).into();
        (address(0x100), address(15))
    }]
}

fn ask(guest: &mut Guest, transport: Transport, ports: &[u16], known: Option<u16>) -> Result<Ports, ScanError> {
    let request = Request { ways: &ways(), transport, ports, known, cookie: u32::MAX, patience: HASTY };
    scan(guest, HERE, request, &|| Duration::from_secs(60))
}

#[test]
fn every_port_is_found_for_what_it_is() {
    let ports: Vec<u16> = (1..=u16::MAX).collect();
    for (_, ip) in ways() {
        for known in [None, Some(3002)] {
            let mut guest = Guest::new(ip, &[22, 3002, 65535], &[1, 513]);
            let found = ask(&mut guest, Transport::Tcp, &ports, known).unwrap();
            assert_eq!(found.open, [22, 3002, 65535].into());
            assert_eq!(found.closed, [1, 513].into());
            assert_eq!((found.asked, found.address, guest.half_open), (65535, ip, 0));
        }
    }
}

#[test]
fn datagrams_find_who_answers_and_who_is_not_there() {
    for (_, ip) in ways() {
        let mut guest = Guest::new(ip, &[53], &[161]);
        let found = ask(&mut guest, Transport::Udp, &[53, 123, 161], None).unwrap();
        assert_eq!((found.open, found.closed, found.asked), ([53].into(), [161].into(), 3));
    }
}

#[test]
fn a_known_port_that_refuses_ends_a_window_as_well() {
    let mut guest = Guest::new(ways()[0].1, &[22], &[3002]);
    let found = ask(&mut guest, Transport::Tcp, &[22, 3002], Some(3002)).unwrap();
    assert_eq!((found.open, found.closed), ([22].into(), [3002].into()));
}

#[test]
fn a_window_whose_end_is_lost_is_asked_again() {
    let mut guest = Guest::new(ways()[0].1, &[22, 3002], &[]);
    // The question for the hardware address is the first frame; these are all of the first window.
    guest.lost = vec![2, 3];
    let request = Request {
        ways: &ways(),
        transport: Transport::Tcp,
        ports: &[22],
        known: Some(3002),
        cookie: 7,
        patience: HASTY,
    };
    let found = scan(&mut guest, HERE, request, &|| Duration::from_secs(60)).unwrap();
    assert_eq!((found.open, found.asked), ([22].into(), 1));
}

#[test]
fn a_known_port_that_is_silent_is_only_missing() {
    let mut guest = Guest::new(ways()[0].1, &[22], &[80]);
    let ports: Vec<u16> = (1..=2000).collect();
    let found = ask(&mut guest, Transport::Tcp, &ports, Some(3002)).unwrap();
    assert_eq!((found.open, found.closed, found.asked), ([22].into(), [80].into(), 2000));
    // Whoever falls silent altogether has no result.
    guest.lost = (guest.seen + 2..guest.seen + 9000).collect();
    assert!(matches!(ask(&mut guest, Transport::Tcp, &ports, Some(3002)), Err(ScanError::Silent(0))));
}

#[test]
fn nobody_and_silence_are_no_results() {
    let mut nobody = Guest::new(Ipv4Addr::new(10, 0, 2, 16).into(), &[], &[]);
    assert!(matches!(ask(&mut nobody, Transport::Tcp, &[22], None), Err(ScanError::Nobody(ways)) if ways.len() == 2));
    let over =
        Request { ways: &ways(), transport: Transport::Tcp, ports: &[22], known: None, cookie: 7, patience: HASTY };
    let mut guest = Guest::new(ways()[0].1, &[22], &[]);
    assert!(matches!(scan(&mut guest, HERE, over, &|| Duration::ZERO), Err(ScanError::Deadline)));
    struct Broken;
    impl Line for Broken {
        fn send(&mut self, _: &[Vec<u8>]) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn receive(&mut self, _: Duration) -> io::Result<Option<Vec<u8>>> {
            Ok(None)
        }
    }
    assert!(matches!(scan(&mut Broken, HERE, over, &|| Duration::from_secs(60)), Err(ScanError::Line(_))));
}

#[test]
fn answers_that_nobody_asked_for_open_nothing() {
    let [(me, it), _] = ways();
    let mut guest = Guest::new(it, &[3002], &[]);
    let (me, it) = (Host { mac: HERE, ip: me }, guest.it);
    let stranger = Host { ip: Ipv4Addr::new(10, 0, 2, 2).into(), ..it };
    // To another port of ours, from another host, from a port that was not asked, and a datagram.
    guest.answers.extend([
        frame::datagram(stranger, me, (22, ASKING), b""),
        frame::datagram(it, me, (22, ASKING), b""),
        frame::segment(it, me, (22, ASKING), 0, TcpControl::Syn),
        frame::segment(it, me, (22, ASKING), 0, TcpControl::Rst),
    ]);
    let found = ask(&mut guest, Transport::Tcp, &[22, 80], Some(3002)).unwrap();
    assert!(found.open.is_empty() && found.closed.is_empty(), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn noise_changes_nothing(noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..40)) {
        let mut guest = Guest::new(ways()[0].1, &[22, 3002], &[80]);
        guest.answers.extend(noise);
        let found = ask(&mut guest, Transport::Tcp, &[22, 80, 81], Some(3002)).unwrap();
        prop_assert_eq!((found.open, found.closed), ([22].into(), [80].into()));
    }
}

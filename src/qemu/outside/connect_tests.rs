use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Instant;

use super::*;

/// An address of this host that no test beside this one uses.
fn listener(host: u8) -> TcpListener {
    TcpListener::bind((Ipv4Addr::new(127, 0, 83, host), 0)).unwrap()
}

fn request(certain: SocketAddr, ports: &[u16]) -> Request<'_> {
    Request { certain, ports, patience: PATIENCE }
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

#[test]
fn ports_that_are_open_closed_and_silent_are_told_apart() {
    let (certain, open, closed, full) = (listener(1), listener(1), listener(1), listener(1));
    let of = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let (certain, address) = (of(&certain), certain.local_addr().unwrap());
    let ports = [certain, of(&open), of(&closed), of(&full)];
    drop(closed);
    // Who has one visitor waiting and takes no more drops what the next one sends.
    rustix::net::listen(&full, 0).unwrap();
    let waiting = TcpStream::connect(full.local_addr().unwrap()).unwrap();
    let begin = Instant::now();
    let Answer::Ports(found) = scan(request(address, &ports), &minute) else { panic!() };
    assert!(begin.elapsed() >= PATIENCE);
    assert_eq!((found.address, found.asked), (address.ip(), 4));
    assert_eq!((found.open, found.closed), ([ports[0], ports[1]].into(), [ports[2]].into()));
    drop(waiting);
}

#[tokio::test]
async fn a_connection_that_met_itself_is_no_open_port() {
    let listener = listener(5);
    let place = listener.local_addr().unwrap();
    let connected = tokio::net::TcpStream::connect(place).await.unwrap();
    assert_eq!(said(&connected, place).unwrap(), Said::Open);
    drop((connected, listener));
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(place).unwrap();
    assert_eq!(said(&socket.connect(place).await.unwrap(), place).unwrap(), Said::Closed);
}

#[test]
fn more_ports_than_may_be_under_way_at_once_are_all_asked() {
    let certain = listener(2);
    let address = certain.local_addr().unwrap();
    let first = address.port().min(u16::MAX - 6000);
    let ports: Vec<u16> = (first..first + 6000).collect();
    assert!(ports.len() as u64 > 2 * WIDTH);
    let Answer::Ports(found) = scan(request(address, &ports), &minute) else { panic!() };
    assert_eq!(found.asked, 6000);
    // Some other service of this host may wait at all addresses.
    assert!(found.open.contains(&address.port()) && found.closed.len() > 5000, "{found:?}");
}

#[test]
fn a_scan_ends_when_time_is_up_and_says_how_far_it_came() {
    let certain = listener(3);
    let address = certain.local_addr().unwrap();
    let begin = Instant::now();
    let left = || Duration::from_millis(200).saturating_sub(begin.elapsed());
    let full = listener(3);
    rustix::net::listen(&full, 0).unwrap();
    let waiting = TcpStream::connect(full.local_addr().unwrap()).unwrap();
    let silent = vec![full.local_addr().unwrap().port(); 5000];
    let Answer::Ports(found) = scan(request(address, &silent), &left) else { panic!() };
    assert!(found.asked < 5000 && begin.elapsed() < Duration::from_secs(20), "{found:?}");
    drop(waiting);
}

#[test]
fn of_a_machine_that_does_not_answer_silence_says_nothing() {
    let full = listener(4);
    rustix::net::listen(&full, 0).unwrap();
    let address = full.local_addr().unwrap();
    let waiting = TcpStream::connect(address).unwrap();
    let answer = scan(request(address, &[1, 2]), &minute);
    assert_eq!(answer, Answer::Unreachable { reason: format!("{address} does not answer") });
    drop(waiting);
    // A port that is closed is none that is certain: somebody on the way may refuse all of them.
    let closed = listener(4).local_addr().unwrap();
    let answer = scan(request(closed, &[1, 2]), &minute);
    assert_eq!(answer, Answer::Unreachable { reason: format!("{closed} does not answer") });
    // One that falls silent on the way.
    let certain = listener(4);
    let address = certain.local_addr().unwrap();
    rustix::net::listen(&certain, 0).unwrap();
    let answer = scan(request(address, &[1, 2]), &minute);
    assert_eq!(answer, Answer::unavailable(format!("{address} does not answer any more, after 2 ports")));
}

#[test]
fn what_this_host_cannot_ask_is_no_answer_of_the_machine() {
    assert_eq!([Errno::CONNREFUSED, Errno::HOSTUNREACH].map(meaning), [Some(Said::Closed); 2]);
    assert_eq!([Errno::TIMEDOUT, Errno::NETUNREACH].map(meaning), [Some(Said::Nothing), Some(Said::NoWay)]);
    assert_eq!([Errno::MFILE, Errno::INVAL].map(meaning), [None; 2]);
}

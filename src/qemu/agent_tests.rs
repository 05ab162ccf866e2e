use super::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

const LONG: Duration = Duration::from_secs(60);

/// Runs `client` against an agent that answers the nth request with the nth of `answers`; `return` fields
/// that are the text `"token"` give back the argument `id`. Returns the requests.
fn with_agent<T>(answers: Vec<Value>, client: impl AsyncFnOnce(&Agent) -> T) -> (T, Vec<Value>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(file::AGENT)).unwrap();
        let server = tokio::spawn(async move { serve(listener, answers).await });
        let agent = Agent::connect(dir.path()).await.unwrap().unwrap();
        let result = client(&agent).await;
        drop(agent);
        (result, server.await.unwrap())
    })
}

async fn serve(listener: UnixListener, answers: Vec<Value>) -> Vec<Value> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut requests, mut line, mut answers) = (Vec::new(), Vec::new(), answers.into_iter());
    while let Ok(byte) = stream.read_u8().await {
        match byte {
            0xff => line.clear(),
            b'\n' => {
                let request: Value = serde_json::from_slice(&line).unwrap();
                line.clear();
                if let Some(mut answer) = answers.next() {
                    if answer["return"] == "token" {
                        answer["return"] = request["arguments"]["id"].clone();
                    }
                    answer["id"] = request["id"].clone();
                    stream.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
                }
                requests.push(request);
            }
            _ => line.push(byte),
        }
    }
    requests
}

#[test]
fn ping_comes_into_step_first_and_tries_again() {
    let answers = vec![json!({"return": 1}), json!({"error": 3}), json!({"return": "token"}), json!({"return": {}})];
    let (result, requests) = with_agent(answers, async |agent| agent.ping(LONG).await);
    result.unwrap();
    let names: Vec<_> = requests.iter().map(|r| r["execute"].as_str().unwrap()).collect();
    assert_eq!(names, ["guest-sync-delimited", "guest-sync-delimited", "guest-sync-delimited", "guest-ping"]);
}

#[test]
fn an_agent_that_never_answers_costs_no_more_than_the_limit() {
    let (result, _) = with_agent(Vec::new(), async |agent| agent.ping(Duration::from_millis(30)).await);
    assert!(matches!(result, Err(Error::Link { peer: Peer::Agent, source: LinkError::Timeout(_), .. })));
}

#[test]
fn exec_polls_until_the_program_ends() {
    let answers = vec![
        json!({"return": {"pid": 7}}),
        json!({"return": {"exited": false}}),
        json!({"return": {"exited": true, "exitcode": 3, "out-data": "b3V0", "err-data": "ZXJy"}}),
    ];
    let (result, requests) = with_agent(answers, async |agent| agent.exec("/bin/x", &["-a", "b c"], b"in", LONG).await);
    let output = Output { exit: Exit::Code(3), stdout: b"out".to_vec(), stderr: b"err".to_vec() };
    assert_eq!(result.unwrap(), output);
    assert_eq!(
        requests[0]["arguments"],
        json!({"path": "/bin/x", "arg": ["-a", "b c"], "input-data": "aW4=", "capture-output": true})
    );
    assert_eq!(requests[2]["arguments"], json!({"pid": 7}));
}

#[test]
fn hostile_ends_of_a_program_are_errors() {
    let cases = [
        json!({"exited": true}),
        json!({"exited": true, "exitcode": 0, "out-truncated": true}),
        json!({"exited": true, "exitcode": 0, "out-data": "not base64!"}),
        json!({"exited": "yes"}),
    ];
    for case in cases {
        let answers = vec![json!({"return": {"pid": -7}}), json!({ "return": case })];
        let (result, _) = with_agent(answers, async |agent| agent.exec("/bin/x", &[], b"", LONG).await);
        assert!(result.is_err(), "{case}");
    }
    let killed = vec![json!({"return": {"pid": 7}}), json!({"return": {"exited": true, "signal": 9}})];
    let (result, _) = with_agent(killed, async |agent| agent.exec("/bin/x", &[], b"", LONG).await);
    assert_eq!(result.unwrap().exit, Exit::Signal(9));
}

#[test]
fn a_program_that_never_ends_is_left_after_the_limit() {
    let mut answers = vec![json!({"return": {"exited": false}}); 1000];
    answers[0] = json!({"return": {"pid": 7}});
    let limit = Duration::from_millis(60);
    let (result, _) = with_agent(answers, async |agent| agent.exec("/bin/x", &[], b"", limit).await);
    assert!(matches!(result, Err(Error::Link { source: LinkError::Timeout(_), .. })));
}

#[test]
fn files_are_read_in_parts_and_closed() {
    let answers = vec![
        json!({"return": 1000}),
        json!({"return": {"buf-b64": "YWI=", "count": 2, "eof": false}}),
        json!({"return": {"buf-b64": "Yw==", "count": 1, "eof": true}}),
        json!({"return": {}}),
    ];
    let (result, requests) = with_agent(answers, async |agent| agent.read_file("/f", 3, LONG).await);
    assert_eq!(result.unwrap(), b"abc");
    assert_eq!(requests[3]["execute"], "guest-file-close");
}

#[test]
fn a_file_without_end_is_refused_and_still_closed() {
    let mut answers = vec![json!({"return": {"buf-b64": "YWI=", "count": 2, "eof": false}}); 4];
    answers[0] = json!({"return": 1000});
    answers[3] = json!({"return": {}});
    let (result, requests) = with_agent(answers, async |agent| agent.read_file("/f", 3, LONG).await);
    assert!(matches!(result, Err(Error::TooMuch { limit: 3, .. })));
    assert_eq!(requests[3]["execute"], "guest-file-close");
}

#[test]
fn the_agent_is_talked_to_by_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let _held = disk::Lock::exclusive(dir.path().join("agent.lock")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(Agent::connect(dir.path())).unwrap().is_none());
}

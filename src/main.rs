use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = rave::sandbox::main_if_asked() {
        return code;
    }
    ExitCode::FAILURE
}

pub fn run(_: &crate::cli::New, _: &super::Context) -> super::Result<super::Status> {
    Ok(super::Status::Done)
}

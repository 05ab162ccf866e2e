//! The age test kit of C2SP/CCTV through the door that opens data keys, and SSH keys as age keys.

//! The main job: join, request an SST, receive, verify, store, leave.

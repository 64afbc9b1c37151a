//! The xbstream container: chunk codec and push reader (spec 06).

//! A member of the group: joins the layers. Input in, actions out; no policy of its own.

//! HTTP in and out: routes, callers, status codes and errcodes.

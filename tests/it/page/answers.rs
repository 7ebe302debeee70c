//! Routes, methods and headers.

use std::io::Read as _;

use super::*;

#[tokio::test]
async fn pages_and_their_files_are_read_by_get_and_head_alone() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let host = registry.name();
    for (path, status, content_type) in [
        ("/".to_owned(), 200, "text/html; charset=utf-8"),
        ("/search".to_owned(), 200, "text/html; charset=utf-8"),
        ("/compare".to_owned(), 200, "text/html; charset=utf-8"),
        (format!("/repository/{host}/acme/app"), 200, "text/html; charset=utf-8"),
        (format!("/image/{host}/acme/app:latest"), 200, "text/html; charset=utf-8"),
        (format!("/repository/{host}/acme/none"), 404, "text/html; charset=utf-8"),
        (format!("/image/{host}/acme/app:none"), 404, "text/html; charset=utf-8"),
        ("/repository/nowhere/a".to_owned(), 404, "text/html; charset=utf-8"),
        ("/api/v1/overview".to_owned(), 200, "application/json"),
        (format!("/api/v1/repository/{host}/acme/none"), 404, "application/json"),
        ("/api/v1/none".to_owned(), 404, "text/plain; charset=utf-8"),
        ("/-/style.css?1".to_owned(), 200, "text/css; charset=utf-8"),
        ("/-/script.js".to_owned(), 200, "text/javascript; charset=utf-8"),
        ("/-/icon.svg".to_owned(), 200, "image/svg+xml"),
        ("/-/none.css".to_owned(), 404, "text/plain; charset=utf-8"),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = ask(&daemon.address, &format!("{method} {path}")).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.0 {status} ")), "{method} {path}: {head}");
            assert!(head.contains(&format!("content-type: {content_type}")), "{method} {path}: {head}");
            assert_eq!(body.is_empty(), method == "HEAD", "{path}");
        }
        let refused = ask(&daemon.address, &format!("POST {path}")).await.unwrap();
        let expected = if status == 404 && content_type.starts_with("text/plain") { " 404 " } else { " 405 " };
        assert!(refused.contains(expected), "{path}: {refused}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_page_is_compressed_where_that_is_asked_for() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let plain = ask(&daemon.address, "GET /search").await.unwrap();
    assert!(plain.contains("vary: Accept-Encoding") && plain.contains("cache-control: no-cache"), "{plain}");
    let mut stream = std::net::TcpStream::connect(&daemon.address).unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let request = "GET /search HTTP/1.0\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n";
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
    .await
    .unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    assert!(String::from_utf8_lossy(&answer[..end]).contains("content-encoding: gzip"));
    let mut page = String::new();
    flate2::read::GzDecoder::new(&answer[end + 4..]).read_to_string(&mut page).unwrap();
    assert_eq!(page, plain.split_once("\r\n\r\n").unwrap().1);
    daemon.stop().await;
}

#[tokio::test]
async fn pages_hold_no_style_script_or_handler_of_their_own_and_refer_to_nothing_elsewhere() {
    let registry = registry();
    let daemon = daemon(&registry).await;
    let host = registry.name();
    for path in [
        "/".to_owned(),
        "/search?q=a".to_owned(),
        format!("/repository/{host}/acme/app"),
        format!("/image/{host}/acme/app:latest"),
    ] {
        let html = page(&daemon, &path).await;
        for forbidden in [" style=", "<style", "javascript:", " onclick", " onload", "http://", "https://", "src=\"//"]
        {
            assert!(!html.contains(forbidden), "{path}: {forbidden}");
        }
        assert_eq!(html.matches("<script").count(), 1, "{path}");
        for attribute in ["href=\"", "src=\"", "action=\""] {
            for value in html.split(attribute).skip(1) {
                assert!(value.starts_with('/') || value.starts_with('#'), "{path}: {}", &value[..40]);
            }
        }
    }
    daemon.stop().await;
}

use http::Request;
use http::header::HOST;
use proptest::prelude::*;

use super::*;

const HOSTILE: &str =
    "</TITLE></title><script>alert(1)</script>\"'>&amp;\u{1b}[2J\u{0}\u{fffe}\r\nX: y";

fn site() -> Site {
    Site {
        product: "funnel/0.1.0".to_owned(),
        host: "studio".to_owned(),
        host_is_configured: false,
        mms: 1755,
        http: Some(8080),
        https: None,
    }
}

fn demo() -> Show {
    Show {
        name: "demo".to_owned(),
        title: Some("funnel demo".to_owned()),
        state: State::OnAir,
        bit_rate: Some(299_200),
        streams: vec!["video wmv2, 640x360, 250 kb/s".to_owned()],
        viewers: 1,
        ..Show::default()
    }
}

fn get(path: &str, fields: &[(HeaderName, &str)]) -> Parts {
    let mut request = Request::builder().uri(path);
    for (name, value) in fields {
        request = request.header(name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

/// The answer of a server with these channels.
fn ask(shows: &[Show], request: &Parts) -> Response<String> {
    let entries = shows.iter().map(|show| (show.name.clone(), show.clone()));
    let channels = Directory::new(entries).expect("names differ");
    answer(
        &site(),
        &channels,
        |_, show| show.clone(),
        request,
        Way::Plain,
    )
}

fn status_and_body(shows: &[Show], request: &Parts) -> (u16, String) {
    let response = ask(shows, request);
    (response.status().as_u16(), response.into_body())
}

fn kind(response: &Response<String>) -> &str {
    response.headers()[CONTENT_TYPE].to_str().expect("ASCII")
}

const BROWSER: [(HeaderName, &str); 2] = [
    (USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64)"),
    (ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8"),
];

#[test]
fn the_metafile_names_every_way_best_first() {
    let show = Show {
        multicast: Multicast::Announced("[Address]".into()),
        author: Some("Zoë".to_owned()),
        ..demo()
    };
    let response = ask(&[show], &get("/DEMO.asx?x", &[(HOST, "radio.example:81")]));
    assert_eq!(kind(&response), "video/x-ms-asf");
    assert_eq!(
        response.body(),
        "<ASX version=\"3.0\">\n\
         <PARAM name=\"Encoding\" value=\"UTF-8\"/>\n\
         <TITLE>funnel demo</TITLE>\n\
         <ENTRY>\n\
         <TITLE>funnel demo</TITLE>\n\
         <AUTHOR>Zoë</AUTHOR>\n\
         <REF href=\"http://radio.example:81/demo.nsc\"/>\n\
         <REF href=\"mms://radio.example/demo\"/>\n\
         <REF href=\"http://radio.example:81/demo?MSWMExt=.asf\"/>\n\
         </ENTRY>\n\
         </ASX>"
    );
    for (path, expected) in [
        ("/demo.wax", "audio/x-ms-wax"),
        ("/demo.wvx", "video/x-ms-wvx"),
    ] {
        assert_eq!(kind(&ask(&[demo()], &get(path, &[]))), expected);
    }
}

#[test]
fn who_came_over_https_is_sent_there_first() {
    let entries = [("demo".to_owned(), demo())];
    let channels = Directory::new(entries).expect("one name");
    let request = get("/demo.asx", &[(HOST, "h")]);
    let look = |_: &str, show: &Show| show.clone();
    let asx = answer(&site(), &channels, look, &request, Way::Secure).into_body();
    let first = asx.lines().find(|line| line.starts_with("<REF"));
    let expected = "<REF href=\"https://h/demo?MSWMExt=.asf\"/>";
    assert_eq!(first, Some(expected), "{asx}");
}

#[test]
fn old_players_get_the_old_notation() {
    let expected = "[Reference]\r\n\
                    Ref1=http://studio:8080/demo?MSWMExt=.asf\r\n\
                    Ref2=mms://studio/demo\r\n";
    let netshow = [(USER_AGENT, "NSPlayer/4.1.0.3856")];
    for request in [get("/demo.asx?old", &[]), get("/demo.asx", &netshow)] {
        let response = ask(&[demo()], &request);
        assert_eq!(
            (kind(&response), response.body().as_str()),
            ("video/x-ms-asf", expected)
        );
    }
    let newer = [(USER_AGENT, "NSPlayer/10.0.0.3646")];
    let (_, body) = status_and_body(&[demo()], &get("/demo.asx?older", &newer));
    assert!(body.starts_with("<ASX"), "{body}");
}

#[test]
fn an_m3u_has_one_entry() {
    let response = ask(&[demo()], &get("/demo.m3u", &[]));
    assert_eq!(kind(&response), "audio/x-mpegurl");
    assert_eq!(
        response.body(),
        "#EXTM3U\n#EXTINF:-1,funnel demo\nhttp://studio:8080/demo\n"
    );
}

#[test]
fn a_group_is_announced_once_its_header_is_known() {
    let with = |multicast| Show {
        multicast,
        ..demo()
    };
    let request = get("/demo.nsc", &[]);
    let response = ask(
        &[with(Multicast::Announced("[Address]\n".into()))],
        &request,
    );
    assert_eq!(
        (kind(&response), response.body().as_str()),
        ("application/x-netshow-channel", "[Address]\n")
    );
    assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
    let pending = ask(&[with(Multicast::Pending)], &request);
    assert_eq!(pending.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(pending.headers()[RETRY_AFTER], "2");
    let (status, body) = status_and_body(&[demo()], &request);
    assert_eq!(
        (status, body.as_str()),
        (404, "404: “demo” is not sent by multicast.\n")
    );
}

#[test]
fn a_redirected_channel_leads_to_where_it_is() {
    let show = Show {
        elsewhere: Some(Elsewhere {
            mms: "mms://other/x".to_owned(),
            http: "http://other:8080/x?a=1&b=\"2".to_owned(),
        }),
        ..demo()
    };
    let (_, asx) = status_and_body(std::slice::from_ref(&show), &get("/demo.asx", &[]));
    let refs: Vec<_> = asx
        .lines()
        .filter(|line| line.starts_with("<REF"))
        .collect();
    assert_eq!(
        refs,
        [
            "<REF href=\"mms://other/x\"/>",
            "<REF href=\"http://other:8080/x?a=1&amp;b=&quot;2\"/>"
        ]
    );
    let (_, page) = status_and_body(&[show], &get("/demo", &BROWSER));
    assert!(page.contains("on another server"), "{page}");
    assert!(!page.contains("viewer<"), "{page}");
}

#[test]
fn a_browser_gets_a_page_and_a_script_gets_text() {
    let response = ask(&[demo()], &get("/demo", &BROWSER));
    assert_eq!(kind(&response), "text/html; charset=utf-8");
    let page = document(response.body());
    for expected in [
        "on air",
        "funnel demo",
        "300 kb/s",
        "1 viewer",
        "video wmv2, 640x360, 250 kb/s",
        "vlc http://studio:8080/demo",
        "mms://studio/demo",
    ] {
        assert!(page.texts.iter().any(|text| text == expected), "{expected}");
    }
    assert_eq!(
        status_and_body(&[demo()], &get("/demo", &[(ACCEPT, "*/*")])),
        (
            200,
            "demo: funnel demo\non air, 300 kb/s, 1 viewer\nvideo wmv2, 640x360, 250 kb/s\n\n\
             mms://studio/demo\nhttp://studio:8080/demo\n"
                .to_owned()
        )
    );
    assert_eq!(
        status_and_body(&[demo()], &get("/", &[])).1,
        "funnel/0.1.0: live channels\n\ndemo  http://studio:8080/demo  on air, 300 kb/s, 1 viewer\n"
    );
}

#[test]
fn the_front_page_lists_every_channel() {
    let radio = Show {
        name: "Évening <News>".to_owned(),
        state: State::Standby,
        ..Show::default()
    };
    let page = document(ask(&[demo(), radio], &get("/", &BROWSER)).body());
    for expected in ["1 of 2 on air", "starts with the first viewer"] {
        assert!(page.texts.iter().any(|text| text == expected), "{expected}");
    }
    for link in ["/demo", "/demo.asx", "/%C3%89vening%20%3CNews%3E.m3u"] {
        assert!(
            page.links.iter().any(|known| known == link),
            "{link} in {:?}",
            page.links
        );
    }
    document(ask(&[], &get("/", &BROWSER)).body());
}

#[test]
fn a_slip_is_answered_with_the_nearest_name() {
    let request = get("/dmeo", &[]);
    assert_eq!(
        status_and_body(&[demo()], &request),
        (
            404,
            "404: there is no “dmeo” here. Did you mean “demo”?\n".to_owned()
        )
    );
    for path in ["/dmeo", "/dmeo.asx"] {
        let response = ask(&[demo()], &get(path, &BROWSER));
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let links = document(response.body()).links;
        assert_eq!(links[links.len() - 2..], ["/demo", "/"]);
    }
    let (status, body) = status_and_body(&[demo()], &get("/favicon.ico", &[]));
    assert_eq!(
        (status, body.as_str()),
        (404, "404: there is no “favicon.ico” here.\n")
    );
}

#[test]
fn other_methods_are_refused_and_every_answer_is_guarded() {
    let mut request = get("/demo", &[]);
    request.method = Method::DELETE;
    let response = ask(&[demo()], &request);
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    for (name, value) in ALWAYS {
        assert_eq!(response.headers()[name], value);
    }
    assert_eq!(response.headers()[SERVER], "funnel/0.1.0");
}

#[test]
fn hostile_texts_are_only_text() {
    let show = Show {
        name: "a\"><script>'&".to_owned(),
        title: Some(HOSTILE.to_owned()),
        author: Some(HOSTILE.to_owned()),
        streams: vec![HOSTILE.to_owned()],
        ..demo()
    };
    let name = "/a%22%3E%3Cscript%3E%27%26";
    for path in [
        name.to_owned(),
        "/".to_owned(),
        format!("/{}", "%3Cscript%3E"),
    ] {
        let page = document(ask(std::slice::from_ref(&show), &get(&path, &BROWSER)).body());
        assert!(
            page.links.iter().all(|link| link.starts_with('/')),
            "{:?}",
            page.links
        );
    }
    let (_, asx) = status_and_body(
        std::slice::from_ref(&show),
        &get(&format!("{name}.asx"), &[]),
    );
    let asx = roxmltree::Document::parse(&asx).expect("well-formed");
    let titles = asx
        .descendants()
        .filter(|node| node.has_tag_name("TITLE"))
        .count();
    assert_eq!(titles, 2);
    let (_, m3u) = status_and_body(&[show], &get(&format!("{name}.m3u"), &[]));
    assert_eq!(m3u.lines().count(), 3, "{m3u}");
}

/// What is on a page.
struct Page {
    texts: Vec<String>,
    links: Vec<String>,
}

/// Reads a page as XML; what is not well-formed, or has anything active in it, fails.
fn document(page: &str) -> Page {
    const ELEMENTS: [&str; 27] = [
        "html", "head", "meta", "title", "link", "style", "body", "main", "header", "h1", "h2",
        "p", "span", "bdi", "ul", "li", "section", "div", "code", "a", "table", "tr", "th", "td",
        "footer", "b", "tbody",
    ];
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    let page = page.trim_start();
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    let document = roxmltree::Document::parse_with_options(page, options)
        .unwrap_or_else(|error| panic!("{error}\n{page}"));
    let elements = document.descendants().filter(|node| node.is_element());
    for element in elements.clone() {
        let name = element.tag_name().name();
        assert!(ELEMENTS.contains(&name), "<{name}> in {page}");
        let is_active = |name: &str| name.starts_with("on") || name == "src";
        assert!(
            !element.attributes().any(|field| is_active(field.name())),
            "{page}"
        );
    }
    let texts = document.descendants().filter(|node| node.is_text());
    let anchors =
        elements.filter(|element| element.has_tag_name(("http://www.w3.org/1999/xhtml", "a")));
    Page {
        texts: texts
            .filter_map(|node| Some(node.text()?.trim().to_owned()))
            .collect(),
        links: anchors
            .filter_map(|anchor| anchor.attribute("href").map(str::to_owned))
            .collect(),
    }
}

proptest! {
    #[test]
    fn any_name_and_title_make_good_pages(name in "[^/?%\\x00-\\x1f\\x7f]{1,40}", title in any::<String>(), path in "/[!-~&&[^#]]{0,40}") {
        let show = Show { name: name.clone(), title: Some(title.clone()), author: Some(title), ..demo() };
        let own = crate::links::path(&name);
        for path in [own.clone(), "/".to_owned(), path] {
            let Ok(uri) = path.parse::<http::Uri>() else { continue };
            let mut request = get("/", &BROWSER);
            request.uri = uri;
            let response = ask(std::slice::from_ref(&show), &request);
            if kind(&response).starts_with("text/html") {
                document(response.body());
            }
        }
        let (status, asx) = status_and_body(std::slice::from_ref(&show), &get(&format!("{own}.asx"), &[]));
        prop_assert_eq!(status, 200);
        prop_assert!(roxmltree::Document::parse(&asx).is_ok(), "{}", asx);
        let (_, m3u) = status_and_body(&[show], &get(&format!("{own}.m3u"), &[]));
        prop_assert_eq!(m3u.split('\n').count(), 4);
    }
}

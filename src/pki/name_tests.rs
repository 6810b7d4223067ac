use super::*;

fn refused<T: FromStr<Err = Problem>>(text: &str) -> bool {
    text.parse::<T>().is_err_and(|problem| problem.fault() == Fault::CertsBadName)
}

#[test]
fn a_host_is_a_dns_name_or_an_address() {
    for good in [
        "localhost",
        "app.test",
        "a.b-c.d9",
        "xn--bcher-kva.test",
        "*.app.test",
        "192.0.2.7",
        "::1",
    ] {
        let host: HostName = good.parse().unwrap();
        assert_eq!(host.to_string(), good);
    }
    assert_eq!("LocalHost".parse::<HostName>().unwrap().to_string(), "localhost");
    assert_eq!("::ffff:10.1.2.3".parse::<HostName>().unwrap().to_string(), "10.1.2.3");
}

#[test]
fn what_the_certificate_library_would_take_for_a_dns_name_is_refused() {
    for text in [
        "",
        " ",
        "a b",
        "127.0.0.1/8",
        "http://x",
        "user@x",
        "a.test.",
        ".test",
        "a..b",
        "-a",
        "a-",
        "a_b",
        "*",
        "*.test",
        "a.*.test",
        "x\n",
        "x\0y",
        "bücher.test",
        "10.0.0.256",
        "a:443",
        "[::1]",
        "0.0.0.0",
        "ff02::1",
    ] {
        assert!(refused::<HostName>(text), "{text:?}");
    }
    assert!(refused::<HostName>(&"a".repeat(64)));
    assert!(refused::<HostName>(&["abc"; 64].join(".")));
}

#[test]
fn a_client_is_one_word() {
    let alice: ClientIdentity = "alice".parse().unwrap();
    assert_eq!(alice.typed_names(), ["dns:alice.client.internal"]);
    for text in ["", "Alice", "a.b", "a b", "a/b", "..", "-x", "a_b", "ä", "a\u{0}"] {
        assert!(refused::<ClientName>(text), "{text:?}");
    }
}

#[test]
fn a_spiffe_id_has_a_domain_and_a_plain_path() {
    for good in ["spiffe://example.test", "spiffe://example.test/a/b-2"] {
        assert_eq!(good.parse::<SpiffeId>().unwrap().to_string(), good);
    }
    for text in [
        "http://x",
        "spiffe://",
        "spiffe:///a",
        "spiffe://A/b",
        "spiffe://a/",
        "spiffe://a//b",
        "spiffe://a/../b",
        "spiffe://a/b?c",
        "spiffe://a/b#c",
        "spiffe://u@a/b",
        "spiffe://a:1/b",
        "spiffe://a/%41",
    ] {
        assert!(refused::<SpiffeId>(text), "{text:?}");
    }
}

#[test]
fn an_e_mail_address_is_a_dot_atom_at_a_domain() {
    assert_eq!("A.b+c@App.Test".parse::<Email>().unwrap().to_string(), "A.b+c@app.test");
    for text in
        ["", "a", "@b.test", "a@", "a..b@c.test", "a@b@c", "\"a\"@b.test", "a b@c.test", "a@[::1]"]
    {
        assert!(refused::<Email>(text), "{text:?}");
    }
}

#[test]
fn a_subtree_covers_what_is_below_it_and_nothing_that_merely_ends_alike() {
    let covers =
        |tree: &str, host: &str| tree.parse::<Subtree>().unwrap().covers(&host.parse().unwrap());
    assert!(covers("app.test", "app.test"));
    assert!(covers("app.test", "a.app.test"));
    assert!(covers("app.test", "*.app.test"));
    assert!(covers("10.0.0.0/8", "10.1.2.3"));
    assert!(!covers("app.test", "myapp.test"));
    assert!(!covers("app.test", "test"));
    assert!(!covers("a.app.test", "*.app.test"));
    assert!(!covers("10.0.0.0/8", "11.0.0.1"));
    for text in ["10.1.2.3/8", "*.test", ".test", "*.app.test"] {
        assert!(refused::<Subtree>(text), "{text:?}");
    }
}

#[test]
fn a_host_as_a_path_is_one_plain_part() {
    for (host, part) in
        [("*.app.test", "_.app.test"), ("::1", "ip---1"), ("127.0.0.1", "127.0.0.1")]
    {
        assert_eq!(host.parse::<HostName>().unwrap().path_part(), part);
    }
}

//! Forms that engines may write, and what is passed over.

use pointsman::engine::{
    Attention, EngineError, EngineErrorKind, Fed, KvEvent, KvStream, Medium, Source, Stored,
};

use super::messages::{Pack, batch, capture, names, stored};

fn feed(payload: &[u8], hear: impl FnMut(KvEvent<'_>)) -> Result<Fed, EngineError> {
    KvStream::new().feed(Source::Live, &[&[0; 8], payload], hear)
}

/// The event, with some fields more or other ones.
fn with(event: Pack, fields: &[(&'static str, Pack)]) -> Pack {
    let Pack::Map(mut entries) = event else { panic!("not a map") };
    entries.retain(|(key, _)| fields.iter().all(|(other, _)| other != key));
    entries.extend(fields.iter().cloned());
    Pack::Map(entries)
}

/// Checks what one stored event says.
#[track_caller]
fn check(event: Pack, mut check: impl FnMut(&Stored<'_>)) {
    let mut checked = 0;
    let fed = feed(&batch(vec![event], Pack::Nil), |event| {
        let KvEvent::Stored(stored) = event else { panic!("{event:?}") };
        check(&stored);
        checked += 1;
    });
    let fed = fed.unwrap();
    assert_eq!((checked, fed.events, fed.refused, fed.unknown), (1, 1, 0, 0), "{fed:?}");
}

#[test]
fn keys_stand_in_any_order_and_unknown_ones_are_passed_over() {
    let Pack::Map(mut entries) = stored(&[7, 8]) else { panic!("not a map") };
    entries.reverse();
    let nested = Pack::Array(vec![Pack::Map(vec![("block_size", Pack::Int(9))]), Pack::Float(0.5)]);
    entries.insert(0, ("new_in_0_40", nested));
    entries.push(("ownership", Pack::Bytes(vec![1; 40])));
    check(Pack::Map(entries), |stored| {
        assert_eq!(Vec::from_iter(stored.hashes.iter()), [7, 8]);
        assert_eq!((stored.block_size, stored.block_tokens()), (2, 4));
        assert!(stored.has_tokens_of_blocks() && !stored.has_extra_keys);
    });
    // A key that is no text.
    let mut odd = vec![0x82, 0x07, 0x91, 0x01];
    Pack::Text("type").write(&mut odd);
    Pack::Text("AllBlocksCleared").write(&mut odd);
    assert_eq!(feed(&batch(vec![Pack::Raw(odd)], Pack::Nil), |_| {}).unwrap().events, 1);
}

#[test]
fn hashes_are_the_same_number_in_every_form() {
    let mut bytes = vec![0xff; 24];
    bytes.extend(u64::MAX.to_be_bytes());
    for hash in [Pack::Int(u64::MAX.into()), Pack::Int(-1), Pack::Bytes(bytes)] {
        let fields = [
            ("block_hashes", Pack::Array(vec![hash.clone(), hash.clone()])),
            ("parent_block_hash", hash),
        ];
        check(with(stored(&[7, 8]), &fields), |stored| {
            assert_eq!(Vec::from_iter(stored.hashes.iter()), [u64::MAX; 2]);
            assert_eq!(stored.parent, Some(u64::MAX));
        });
    }
}

#[test]
fn media_are_folded_by_case_and_unknown_ones_are_apart() {
    let mut others = Vec::new();
    for (name, medium) in [
        ("GPU", Some(Medium::Device)),
        ("gpu", Some(Medium::Device)),
        ("cpu", Some(Medium::Host)),
        ("CPU_PINNED", Some(Medium::Host)),
        ("Storage", Some(Medium::Disk)),
        ("DISK", Some(Medium::Disk)),
        ("external", Some(Medium::Shared)),
        ("tape", None),
        ("TAPE", None),
        ("moon", None),
    ] {
        check(with(stored(&[7]), &[("medium", Pack::Text(name))]), |stored| match medium {
            Some(medium) => assert_eq!(stored.place.medium, medium),
            None => others.push(stored.place.medium),
        });
    }
    assert!(others.iter().all(|medium| matches!(medium, Medium::Other(_))));
    assert!(others[0] == others[1] && others[1] != others[2]);
}

#[test]
fn groups_say_whether_their_blocks_describe_prefixes() {
    let kind = |kind: &'static str| ("kv_cache_spec_kind", Pack::Text(kind));
    let window = ("kv_cache_spec_sliding_window", Pack::Int(64));
    for (fields, attention) in [
        (vec![], Attention::Unknown),
        (vec![kind("full_attention")], Attention::Full),
        (vec![kind("mla_attention")], Attention::Full),
        (vec![kind("mamba")], Attention::Partial { window: None }),
        (vec![kind("sliding_window"), window.clone()], Attention::Partial { window: Some(64) }),
        (vec![window], Attention::Partial { window: Some(64) }),
    ] {
        check(with(stored(&[7]), &fields), |stored| assert_eq!(stored.attention, attention));
    }
    let elsewhere = [("locality", Pack::Text("REMOTE")), ("group_idx", Pack::Int(3))];
    check(with(stored(&[7]), &elsewhere), |stored| {
        assert_eq!((stored.place.is_remote, stored.place.group), (true, 3));
    });
}

#[test]
fn what_only_describes_a_block_costs_no_event() {
    let odd = Pack::Array(vec![Pack::Int(1)]);
    for (key, is_extra) in
        [("lora_id", true), ("lora_name", true), ("cache_salt", true), ("session_id", false)]
    {
        check(with(stored(&[7]), &[(key, odd.clone())]), |stored| {
            assert_eq!(stored.has_extra_keys, is_extra, "{key}");
            assert_eq!((stored.lora_id, stored.lora_name), (None, None));
            assert_eq!((stored.cache_salt, stored.session_id), (None, None));
        });
    }
    for keys in [Pack::Int(3), Pack::Array(vec![Pack::Nil, Pack::Array(vec![])])] {
        check(with(stored(&[7, 8]), &[("extra_keys", keys)]), |s| assert!(s.has_extra_keys));
    }
}

#[test]
fn an_unknown_or_broken_event_costs_no_other() {
    let array = |slots: &[Pack]| Pack::Array(slots.to_vec());
    let unknown =
        array(&[Pack::Text("BlockMoved"), Pack::Int(1), Pack::Map(vec![("a", Pack::Nil)])]);
    let events = vec![
        stored(&[1]),
        unknown,
        Pack::Map(vec![("type", Pack::Text("BlockUpdated")), ("block_hashes", Pack::Int(1))]),
        with(stored(&[2]), &[("block_hashes", Pack::Text("none"))]),
        with(stored(&[2]), &[("token_ids", Pack::ints([1, -2]))]),
        with(stored(&[2]), &[("token_ids", Pack::ints([1 << 32]))]),
        with(stored(&[2]), &[("block_size", Pack::Float(16.0))]),
        with(stored(&[2]), &[("medium", Pack::Raw(vec![0xa1, 0xff]))]),
        with(stored(&[2]), &[("type", Pack::Nil)]),
        Pack::Map(Vec::new()),
        array(&[]),
        Pack::Int(3),
        array(&[Pack::Text("BlockRemoved")]),
        array(&[Pack::Text("BlockRemoved"), Pack::ints([3])]),
        stored(&[4]),
    ];
    let mut heard = Vec::new();
    let fed = feed(&batch(events, Pack::Int(0)), |event| match event {
        KvEvent::Stored(stored) => heard.extend(stored.hashes.iter()),
        KvEvent::Removed(removed) => heard.extend(removed.hashes.iter()),
        _ => panic!("{event:?}"),
    });
    let fed = fed.unwrap();
    assert_eq!((heard, fed.events, fed.unknown, fed.refused), (vec![1, 3, 4], 3, 2, 10));
    assert_eq!(fed.first_refusal.unwrap().kind, EngineErrorKind::WrongType);
}

#[test]
fn an_error_names_the_byte() {
    let bad = |fields: &[(&'static str, Pack)], mark: &[u8]| {
        let payload = batch(vec![with(stored(&[2]), fields)], Pack::Nil);
        let refusal = feed(&payload, |_| panic!("heard")).unwrap().first_refusal.unwrap();
        assert_eq!(refusal.kind, EngineErrorKind::WrongType);
        assert!(payload[refusal.position..].starts_with(mark), "{refusal}");
    };
    bad(&[("block_hashes", Pack::Array(vec![Pack::Int(1), Pack::Text("x")]))], b"\xd9\x01x");
    bad(&[("token_ids", Pack::Array(vec![Pack::Int(1), Pack::Bytes(vec![9])]))], b"\xc4\x01\x09");
    bad(&[("group_idx", Pack::Text("first"))], b"\xd9\x05first");
    let mut payload = batch(vec![stored(&[1])], Pack::Text("first"));
    let error = feed(&payload, |_| panic!("heard")).unwrap_err();
    assert_eq!((error.kind, error.position), (EngineErrorKind::Rank, payload.len() - 7));
    assert_eq!(
        error.to_string(),
        format!("a rank that is not a small number at byte {}", error.position)
    );
    payload[0] = 0xc1;
    let error = feed(&payload, |_| panic!("heard")).unwrap_err();
    assert_eq!((error.kind, error.position), (EngineErrorKind::UnexpectedByte, 0));
}

#[test]
fn no_rank_or_nil_is_rank_0_and_slots_after_it_are_passed_over() {
    let mut short = Vec::new();
    Pack::Array(vec![Pack::Int(3), Pack::Array(vec![stored(&[1])])]).write(&mut short);
    let mut long = Vec::new();
    let more = vec![Pack::Int(3), Pack::Array(vec![stored(&[1])]), Pack::Nil, Pack::Map(vec![])];
    Pack::Array(more).write(&mut long);
    for payload in [short, long] {
        let fed = feed(&payload, |_| {}).unwrap();
        assert_eq!((fed.events, fed.rank, fed.time), (1, 0, 3.0));
    }
}

/// Lengths that promise more than there is, and depth, are no work.
#[test]
fn promises_are_not_followed() {
    let deep = [vec![0x93, 0x01], vec![0x91; 200_000]].concat();
    let wide = [vec![0x93, 0x01], [0xdd, 0xff, 0xff, 0xff, 0xff].repeat(2_000)].concat();
    let text = vec![0x93, 0x01, 0x91, 0x91, 0xdb, 0xff, 0xff, 0xff, 0xff, b'B'];
    for payload in [deep, wide, text] {
        let error = feed(&payload, |_| panic!("heard")).unwrap_err();
        assert_eq!(error.kind, EngineErrorKind::UnexpectedEnd);
    }
    let deep_but_whole = [vec![0x93, 0x01, 0x91], vec![0x91; 200_000], vec![0xc0, 0x00]].concat();
    assert_eq!(feed(&deep_but_whole, |_| panic!("heard")).unwrap().refused, 1);
}

/// Bytes of each captured payload changed, in three ways: an error or other events, no panic, and
/// nothing is handed out that is not in the payload.
#[test]
fn any_changed_byte_is_survived() {
    let mut errors = 0;
    for name in names() {
        for message in capture(&name) {
            let mut payload = message.payload().to_vec();
            // All of the short ones; some hundred of a long one, which repeats itself.
            for place in (0..payload.len()).step_by(1 + payload.len() / 300) {
                let byte = payload[place];
                for other in [byte ^ 0x01, byte ^ 0x80, 0xdf] {
                    payload[place] = other;
                    let fed = feed(&payload, |event| {
                        let KvEvent::Stored(stored) = event else { return };
                        assert_eq!(stored.hashes.iter().count(), stored.hashes.len());
                        assert_eq!(stored.tokens.iter().count(), stored.tokens.len());
                        assert!(stored.tokens.len() + stored.hashes.len() <= payload.len());
                    });
                    errors += usize::from(fed.is_err());
                }
                payload[place] = byte;
            }
        }
    }
    assert!(errors > 1_000, "{errors}");
}

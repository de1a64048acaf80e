//! Where tasks go: told as cases, then held for every small world there is.

use orchestratord_sched::DeviceMask;
use orchestratord_sched::placement::{
    Basis, Candidate, Choice, Decision, Determinism, Fallback, Needs, Refusal, Standing, Versions,
    Why, Wish, decide,
};

const PINNED: Versions<'static> = Versions {
    engine: Some("1.0"),
    sampler_profile: Some("plain"),
};

/// A pool with two slots and nothing to do.
fn idle(id: &str) -> Candidate<'_> {
    Candidate {
        id,
        engine: "mock",
        ctx_max: 4096,
        device_mask: None,
        versions: Versions::default(),
        standing: Standing::Ready,
        is_full: false,
        had_last_turn: false,
        slots_total: 2,
        slots_free: 2,
        tasks: 0,
        vram_free_bytes: None,
    }
}

/// The same with all slots taken and so many tasks there.
fn busy(id: &str, tasks: u32) -> Candidate<'_> {
    Candidate {
        slots_free: 0,
        tasks,
        ..idle(id)
    }
}

fn needs(wish: &Wish) -> Needs<'_> {
    Needs {
        wish,
        engine: None,
        ctx_tokens: 0,
        determinism: Determinism::BestEffort,
        sampler_profile: None,
    }
}

fn wish(choice: Choice) -> Wish {
    Wish {
        choice,
        ..Wish::default()
    }
}

fn pin(id: &str) -> Wish {
    wish(Choice::Pin(id.to_owned()))
}

fn prefer(ids: &[&str]) -> Wish {
    wish(Choice::Prefer(owned(ids)))
}

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn mask(text: &str) -> DeviceMask {
    text.parse()
        .expect("the test writes devices as they are written")
}

/// Where a task with these needs goes, and why.
fn goes<'a>(needs: &Needs<'_>, pools: &[Candidate<'a>]) -> Result<(&'a str, Basis), Why> {
    match decide(needs, pools) {
        Ok(Decision { pool, basis }) => Ok((pools[pool].id, basis)),
        Err(Refusal { why, .. }) => Err(why),
    }
}

#[track_caller]
fn check(wish: &Wish, pools: &[Candidate<'_>], expected: Result<(&str, Basis), Why>) {
    assert_eq!(goes(&needs(wish), pools), expected);
}

#[test]
fn a_task_without_a_wish_goes_where_a_slot_is_free() {
    let wide = Candidate {
        slots_total: 64,
        ..busy("a", 64)
    };
    let narrow = Candidate {
        slots_total: 2,
        slots_free: 1,
        tasks: 1,
        ..idle("b")
    };
    check(&Wish::default(), &[wide, narrow], Ok(("b", Basis::Auto)));
}

#[test]
fn without_a_free_slot_the_fewest_tasks_to_a_slot_decide() {
    let wide = Candidate {
        slots_total: 8,
        ..busy("a", 12)
    };
    check(
        &Wish::default(),
        &[busy("b", 4), wide],
        Ok(("a", Basis::Auto)),
    );
    check(
        &Wish::default(),
        &[busy("b", 2), wide],
        Ok(("b", Basis::Auto)),
    );
}

#[test]
fn equal_loads_go_to_more_free_memory_and_then_to_the_lesser_id() {
    let with = |id, vram_free_bytes| Candidate {
        vram_free_bytes,
        ..idle(id)
    };
    let pools = [with("a", None), with("b", Some(1)), with("c", Some(2))];
    check(&Wish::default(), &pools, Ok(("c", Basis::Auto)));
    check(&Wish::default(), &pools[..2], Ok(("b", Basis::Auto)));
    check(
        &Wish::default(),
        &[idle("z"), idle("y")],
        Ok(("y", Basis::Auto)),
    );
}

#[test]
fn a_session_goes_where_it_was_but_waits_for_nobody() {
    let last = |pool| Candidate {
        had_last_turn: true,
        ..pool
    };
    let lighter = Candidate {
        slots_total: 8,
        slots_free: 8,
        ..idle("a")
    };
    check(
        &Wish::default(),
        &[lighter, last(idle("b"))],
        Ok(("b", Basis::Auto)),
    );
    check(
        &Wish::default(),
        &[lighter, last(busy("b", 2))],
        Ok(("a", Basis::Auto)),
    );
}

#[test]
fn engines_that_answer_go_before_those_that_are_being_started() {
    let preparing = Candidate {
        standing: Standing::Preparing,
        ..idle("a")
    };
    check(
        &Wish::default(),
        &[preparing, busy("b", 40)],
        Ok(("b", Basis::Auto)),
    );
    check(&Wish::default(), &[preparing], Ok(("a", Basis::Auto)));
}

#[test]
fn a_pin_is_obeyed_however_long_its_queue() {
    check(
        &pin("b"),
        &[idle("a"), busy("b", 99)],
        Ok(("b", Basis::Pin)),
    );
}

#[test]
fn a_pin_that_can_not_be_obeyed_is_refused_unless_the_task_gives_it_up() {
    let closed = [
        (Standing::Starting, Why::Starting),
        (Standing::Draining, Why::Draining),
        (Standing::Down, Why::Down),
    ];
    for (standing, why) in closed {
        let pools = [
            idle("a"),
            Candidate {
                standing,
                ..idle("b")
            },
        ];
        for fallback in [Fallback::Unsaid, Fallback::Forbidden] {
            let wish = Wish {
                fallback,
                ..pin("b")
            };
            check(&wish, &pools, Err(why));
        }
        let given_up = Wish {
            fallback: Fallback::Allowed,
            ..pin("b")
        };
        check(&given_up, &pools, Ok(("a", Basis::Fallback)));
    }
}

#[test]
fn the_first_preferred_pool_that_takes_the_task_has_it() {
    let down = |id| Candidate {
        standing: Standing::Down,
        ..idle(id)
    };
    let wish = prefer(&["c", "b"]);
    check(
        &wish,
        &[idle("a"), idle("b"), busy("c", 9)],
        Ok(("c", Basis::Preference)),
    );
    check(
        &wish,
        &[idle("a"), idle("b"), down("c")],
        Ok(("b", Basis::Preference)),
    );
    check(
        &wish,
        &[idle("a"), down("b"), down("c")],
        Ok(("a", Basis::Fallback)),
    );
    let firm = Wish {
        fallback: Fallback::Forbidden,
        ..wish
    };
    check(&firm, &[idle("a"), down("b"), down("c")], Err(Why::Down));
}

#[test]
fn an_avoided_pool_is_the_last_resort() {
    let avoiding = Wish {
        avoid: owned(&["a"]),
        ..Wish::default()
    };
    check(
        &avoiding,
        &[idle("a"), busy("b", 9)],
        Ok(("b", Basis::Auto)),
    );
    check(&avoiding, &[idle("a")], Ok(("a", Basis::Fallback)));
    let firm = Wish {
        fallback: Fallback::Forbidden,
        ..avoiding
    };
    check(&firm, &[idle("a")], Err(Why::Unwanted));
}

#[test]
fn a_full_queue_is_joined_only_where_all_are_full() {
    let full = |id| Candidate {
        is_full: true,
        ..idle(id)
    };
    check(
        &Wish::default(),
        &[full("a"), busy("b", 9)],
        Ok(("b", Basis::Auto)),
    );
    check(
        &prefer(&["a"]),
        &[full("a"), busy("b", 9)],
        Ok(("b", Basis::Fallback)),
    );
    check(
        &prefer(&["a"]),
        &[full("a"), full("b")],
        Ok(("a", Basis::Preference)),
    );
    check(&pin("a"), &[full("a"), idle("b")], Ok(("a", Basis::Pin)));
}

#[test]
fn a_task_runs_on_no_device_that_it_has_not_named() {
    let on = |id, devices: Option<&str>| Candidate {
        device_mask: devices.map(mask),
        ..idle(id)
    };
    let wish = Wish {
        device_mask: Some(mask("0-1")),
        ..Wish::default()
    };
    let pools = [on("a", None), on("b", Some("1,2")), on("c", Some("1"))];
    check(&wish, &pools, Ok(("c", Basis::Auto)));
    check(&wish, &pools[..2], Err(Why::Devices));
}

#[test]
fn strict_determinism_goes_only_where_all_versions_are_pinned() {
    let pools = [
        idle("a"),
        Candidate {
            versions: Versions {
                engine: Some("1.0"),
                sampler_profile: None,
            },
            ..idle("b")
        },
        Candidate {
            versions: PINNED,
            ..busy("c", 9)
        },
    ];
    let wish = Wish::default();
    let strict = Needs {
        determinism: Determinism::Strict,
        ..needs(&wish)
    };
    assert_eq!(goes(&strict, &pools), Ok(("c", Basis::Auto)));
    assert_eq!(goes(&strict, &pools[..2]), Err(Why::Unpinned));
    let of = |profile| Needs {
        sampler_profile: Some(profile),
        ..strict
    };
    assert_eq!(goes(&of("plain"), &pools), Ok(("c", Basis::Auto)));
    assert_eq!(goes(&of("other"), &pools), Err(Why::Unpinned));
}

#[test]
fn a_named_profile_is_looked_for_even_without_strictness() {
    let pinned = Candidate {
        versions: PINNED,
        ..busy("b", 9)
    };
    let wish = Wish::default();
    let of = |profile| Needs {
        sampler_profile: Some(profile),
        ..needs(&wish)
    };
    assert_eq!(
        goes(&of("plain"), &[idle("a"), pinned]),
        Ok(("b", Basis::Auto))
    );
    assert_eq!(
        goes(&of("other"), &[idle("a"), pinned]),
        Ok(("a", Basis::Auto))
    );
}

#[test]
fn engine_and_context_are_never_traded() {
    let small = Candidate {
        ctx_max: 512,
        engine: "vllm",
        ..idle("a")
    };
    let wish = Wish::default();
    let of = |engine| Needs {
        engine: Some(engine),
        ..needs(&wish)
    };
    assert_eq!(
        goes(&of("vllm"), &[small, idle("b")]),
        Ok(("a", Basis::Auto))
    );
    assert_eq!(goes(&of("tgi"), &[small, idle("b")]), Err(Why::Engine));
    let long = |ctx_tokens| Needs {
        ctx_tokens,
        ..needs(&wish)
    };
    assert_eq!(
        goes(&long(513), &[small, idle("b")]),
        Ok(("b", Basis::Auto))
    );
    assert_eq!(goes(&long(4097), &[small, idle("b")]), Err(Why::Context));
}

#[test]
fn a_refusal_names_what_may_pass_soonest() {
    let at = |id, standing| Candidate {
        standing,
        ..idle(id)
    };
    let pools = [at("a", Standing::Down), at("b", Standing::Draining)];
    let wish = Wish::default();
    let refusal = decide(&needs(&wish), &pools).unwrap_err();
    assert_eq!((refusal.pool, refusal.why), (1, Why::Draining));
}

/// Every pool that differs in what the rules look at.
fn kinds() -> Vec<Candidate<'static>> {
    let mut kinds = vec![idle("")];
    let mut vary = |variant: fn(Candidate<'static>) -> Candidate<'static>| {
        let varied: Vec<_> = kinds.iter().copied().map(variant).collect();
        kinds.extend(varied);
    };
    vary(|pool| Candidate {
        standing: Standing::Draining,
        ..pool
    });
    vary(|pool| Candidate {
        is_full: true,
        ..pool
    });
    vary(|pool| Candidate {
        versions: PINNED,
        ..pool
    });
    vary(|pool| Candidate {
        device_mask: "0".parse().ok(),
        ..pool
    });
    kinds
}

fn worlds() -> impl Iterator<Item = [Candidate<'static>; 3]> {
    let kinds = || kinds().into_iter();
    kinds().flat_map(move |a| {
        kinds().flat_map(move |b| {
            kinds().map(move |c| {
                [
                    Candidate { id: "a", ..a },
                    Candidate { id: "b", ..b },
                    Candidate { id: "c", ..c },
                ]
            })
        })
    })
}

fn wishes() -> Vec<Wish> {
    let mut wishes = Vec::new();
    let choices = [
        Choice::Auto,
        Choice::Prefer(owned(&["b"])),
        Choice::Prefer(owned(&["c", "b"])),
        Choice::Pin("b".to_owned()),
    ];
    for choice in choices {
        for avoid in [owned(&[]), owned(&["a"])] {
            for fallback in [Fallback::Unsaid, Fallback::Allowed, Fallback::Forbidden] {
                for device_mask in [None, Some(mask("0"))] {
                    wishes.push(Wish {
                        choice: choice.clone(),
                        avoid: avoid.clone(),
                        device_mask,
                        fallback,
                    });
                }
            }
        }
    }
    wishes
}

/// Whether the task asks for this pool, or asks for none and does not avoid it.
fn is_asked_for(wish: &Wish, id: &str) -> bool {
    match &wish.choice {
        Choice::Auto => !wish.avoid.iter().any(|avoided| avoided == id),
        Choice::Prefer(pools) => pools.iter().any(|pool| pool == id),
        Choice::Pin(pin) => pin == id,
    }
}

fn may_fall_back(wish: &Wish) -> bool {
    match wish.fallback {
        Fallback::Allowed => true,
        Fallback::Forbidden => false,
        Fallback::Unsaid => !matches!(wish.choice, Choice::Pin(_)),
    }
}

/// Whether nothing but the wish could keep the task from this pool.
fn could_take(needs: &Needs<'_>, pool: &Candidate<'_>) -> bool {
    let strict = needs.determinism == Determinism::Strict;
    pool.standing == Standing::Ready
        && (needs.wish.device_mask.is_none() || pool.device_mask == needs.wish.device_mask)
        && (!strict || pool.versions == PINNED)
}

fn hold(needs: &Needs<'_>, pools: &[Candidate<'_>; 3]) {
    let wish = needs.wish;
    let takers = || pools.iter().filter(|pool| could_take(needs, pool));
    let with_room = || takers().filter(|pool| !pool.is_full);
    let decision = goes(needs, pools);
    let case = || format!("{needs:?}\n{pools:?}\n{decision:?}");
    let Ok((id, basis)) = decision else {
        let wanted = |pool: &&Candidate<'_>| may_fall_back(wish) || is_asked_for(wish, pool.id);
        assert!(
            !takers().any(|pool| wanted(&pool)),
            "refused for nothing: {}",
            case()
        );
        return;
    };
    let chosen = takers().find(|pool| pool.id == id);
    let chosen = chosen.unwrap_or_else(|| panic!("it can't run there: {}", case()));
    assert_eq!(
        basis == Basis::Fallback,
        !is_asked_for(wish, id),
        "{}",
        case()
    );
    assert!(
        basis != Basis::Fallback || may_fall_back(wish),
        "{}",
        case()
    );
    if basis == Basis::Fallback {
        let passed_over = with_room().any(|pool| is_asked_for(wish, pool.id));
        assert!(!passed_over, "what was asked for takes it: {}", case());
    }
    if chosen.is_full && may_fall_back(wish) {
        assert_eq!(with_room().count(), 0, "others have room: {}", case());
    }
    if basis == Basis::Fallback && wish.avoid.iter().any(|avoided| avoided == id) {
        let others = with_room().filter(|pool| pool.id != id).count();
        assert_eq!(others, 0, "an avoided pool was not the last: {}", case());
    }
    let reversed = [pools[2], pools[1], pools[0]];
    assert_eq!(
        decision,
        goes(needs, &reversed),
        "the order decides: {}",
        case()
    );
}

#[test]
fn every_small_world_keeps_the_promises() {
    let wishes = wishes();
    for pools in worlds() {
        for wish in &wishes {
            for determinism in [Determinism::BestEffort, Determinism::Strict] {
                let needs = Needs {
                    determinism,
                    ..needs(wish)
                };
                hold(&needs, &pools);
            }
        }
    }
}

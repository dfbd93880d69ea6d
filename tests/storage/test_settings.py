"""Choices and facts are kept as they were put."""


async def test_choices_of_members_and_servers_are_kept_apart(store):
    await store.settings.set_member("1", "lane", "relax")
    await store.settings.set_member("1", "count", 2)
    await store.settings.set_server("1", "channels", ["a", "b"])
    assert await store.settings.member("1") == {"lane": "relax", "count": 2}
    assert await store.settings.member("2") == {}
    assert await store.settings.server("1") == {"channels": ["a", "b"]}


async def test_a_choice_can_be_changed_and_forgotten(store):
    await store.settings.set_member("1", "lane", "relax")
    await store.settings.set_member("1", "lane", "fast")
    assert await store.settings.member("1") == {"lane": "fast"}
    await store.settings.set_member("1", "lane", None)
    assert await store.settings.member("1") == {}


async def test_a_fact_of_the_program_has_a_default_until_it_is_put(store):
    assert await store.settings.state("paused", False) is False
    await store.settings.put_state("paused", True)
    await store.settings.put_state("rates", {"größe": [1.5]})
    assert await store.settings.state("paused", False) is True
    assert await store.settings.state("rates") == {"größe": [1.5]}

from tests.search.web.hostile import attack


def test_strange_requests_neither_harm_the_server_nor_get_what_they_should_not(tmp_path):
    found = attack(tmp_path, requests=600, clients=4)
    assert found["requests"] == 600 and {200, 206, 400, 403, 404, 405, 415, 421} <= {*found["statuses"]}

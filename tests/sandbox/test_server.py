import requests

from trackstar_frames.sandbox import Sandbox


def test_it_serves_a_page():
    with Sandbox(orders=10) as sandbox:
        headers = {
            "x-trackstar-api-key": sandbox.api_key,
            "x-trackstar-access-token": sandbox.access_token,
        }
        body = requests.get(f"{sandbox.base_url}/wms/orders", headers=headers, timeout=5).json()
        assert body == {"data": sandbox.orders, "next_token": None, "total_count": 10}

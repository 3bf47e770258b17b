"""The shop's API: products and orders in PostgreSQL, the visitors' counter in Redis.

    GET  /api/shop              everything the page shows
    POST /api/orders?product=1  places an order
    GET  /api/health            both stores answer
"""

import json
import os
import socket
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg2
import redis

PORT = 8000
REPLICA = socket.gethostname()
SHOP_NAME = os.environ.get("SHOP_NAME", "Shop")

cache = redis.Redis(os.environ.get("CACHE_HOST", "cache"), socket_timeout=2, socket_connect_timeout=2)
local = threading.local()


def password():
    with open("/run/secrets/db_password", encoding="utf-8") as secret:
        return secret.read().strip()


def query(statement, *values):
    """Runs one statement on this thread's connection and returns its rows; a lost connection is made anew once."""
    for attempt in (1, 2):
        try:
            if getattr(local, "connection", None) is None:
                local.connection = psycopg2.connect(
                    host=os.environ.get("DB_HOST", "db"), dbname="shop", user="shop", password=password(), connect_timeout=2
                )
                local.connection.autocommit = True
            with local.connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall()
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            local.connection = None
            if attempt == 2:
                raise


def shop():
    products = query(
        "SELECT p.id, p.name, p.icon, p.cents, count(o.id) FROM products p LEFT JOIN orders o ON o.product_id = p.id"
        " GROUP BY p.id ORDER BY p.id"
    )
    return {
        "shop": SHOP_NAME,
        "replica": REPLICA,
        "visits": cache.incr("visits"),
        "orders": sum(product[4] for product in products),
        "products": [dict(zip(("id", "name", "icon", "cents", "sold"), product)) for product in products],
    }


def order(product):
    (number,) = query("INSERT INTO orders (product_id) VALUES (%s) RETURNING id", product)[0]
    return {"order": number, "replica": REPLICA}


def health():
    query("SELECT 1")
    cache.ping()
    return {"healthy": True, "replica": REPLICA}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        routes = {"/api/shop": shop, "/api/health": health}
        self.answer(routes.get(urlsplit(self.path).path))

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        product = parse_qs(url.query).get("product", ["1"])[0]
        self.answer((lambda: order(product)) if url.path == "/api/orders" else None)

    def answer(self, action):
        try:
            status, body = (200, action()) if action else (404, {"error": "no such path"})
        except (psycopg2.Error, redis.RedisError) as error:
            status, body = 503, {"error": str(error).strip(), "replica": REPLICA}
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        if "/api/health" not in self.path:
            print(self.command, self.path, args[1], flush=True)


def main():
    if "--healthy" in sys.argv:
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api/health", timeout=3).read()
        return
    server = ThreadingHTTPServer(("", PORT), Handler)
    server.daemon_threads = True
    print(f"listening on port {PORT} as {REPLICA}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

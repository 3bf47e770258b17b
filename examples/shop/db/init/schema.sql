CREATE TABLE products (
    id    serial PRIMARY KEY,
    name  text NOT NULL UNIQUE,
    icon  text NOT NULL,
    cents integer NOT NULL CHECK (cents > 0)
);

CREATE TABLE orders (
    id         serial PRIMARY KEY,
    product_id integer NOT NULL REFERENCES products,
    placed_at  timestamptz NOT NULL DEFAULT now()
);

INSERT INTO products (name, icon, cents) VALUES
    ('Steel shackle', '🔗', 450),
    ('Snatch block', '⚙️', 3900),
    ('Manila rope', '🪢', 2750),
    ('Cargo hook', '🪝', 1290);

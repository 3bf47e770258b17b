fn main() {
    search();
}

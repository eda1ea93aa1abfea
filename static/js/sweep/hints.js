// Letters to point at a face without a mouse: easy keys first, two each when there are many.

const LETTERS = "fjdkslaghrueiwotyvncmb";

export function hintsFor(count) {
  if (count <= LETTERS.length) {
    return [...LETTERS].slice(0, count);
  }
  const pairs = [...LETTERS].flatMap((first) => [...LETTERS].map((second) => first + second));
  return pairs.slice(0, count);
}

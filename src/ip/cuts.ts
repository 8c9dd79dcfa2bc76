/** How packets that were put together on their way were cut: they leave in the same pieces. Of the last ones; what is older leaves in others. */
const KEPT = 1024;

export class Cuts {
  private readonly lengths: (readonly number[] | undefined)[] = new Array(KEPT);
  private readonly numbers = new Uint16Array(KEPT);
  private last = 0;

  /** The number by which the packet is known, 1 to 65535. */
  add(lengths: readonly number[]): number {
    this.last = (this.last % 65_535) + 1;
    this.lengths[this.last % KEPT] = lengths;
    this.numbers[this.last % KEPT] = this.last;
    return this.last;
  }

  of(number: number): readonly number[] | undefined {
    return number !== 0 && this.numbers[number % KEPT] === number ? this.lengths[number % KEPT] : undefined;
  }
}

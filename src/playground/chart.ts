/** A chart that grows: in the colours of the scheme, as wide as its place, and named for those who do not see it. */
import uPlot from "uplot";

export interface Line {
  readonly label: string;
  /** A colour of style.css: "--loom". */
  readonly colour: string;
  /** Which axis: the left one, or the right one. */
  readonly right?: boolean;
}

export interface ChartOptions {
  /** What is drawn; also the beginning of the name that a screen reader says. */
  readonly title: string;
  readonly lines: readonly Line[];
  /** Label of the x axis, and how far it reaches at least. */
  readonly x: string;
  readonly span: number;
  /** Label of the right axis, when there is one. */
  readonly right?: string;
  /** Rows that are kept; absent: all. */
  readonly most?: number;
}

const HEIGHT = 260;
const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** An empty chart has an axis that can be read, too. */
const fromZero: uPlot.Scale.Range = (_u, _low, high) => [0, high ? Math.max(high * 1.15, 1e-3) : 1];

export class LiveChart {
  private readonly place: HTMLElement;
  private readonly options: ChartOptions;
  private readonly columns: (number | null)[][];
  private plot: uPlot;

  constructor(place: HTMLElement, options: ChartOptions) {
    this.place = place;
    this.options = options;
    this.columns = [[], ...options.lines.map(() => [])];
    place.setAttribute("role", "img");
    this.describe("nothing yet");
    this.plot = this.make();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.plot.destroy();
      this.plot = this.make();
    });
    new ResizeObserver(() => this.plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  }

  /** What the picture shows, in words. */
  describe(text: string): void {
    this.place.setAttribute("aria-label", `Chart, ${this.options.title}: ${text}`);
  }

  clear(): void {
    for (const column of this.columns) column.length = 0;
    this.draw();
  }

  /** Another row: x first, then a value (or null) for each line. `draw` shows it. */
  push(...row: (number | null)[]): void {
    for (const [i, value] of row.entries()) {
      this.columns[i].push(value);
      if (this.columns[i].length > (this.options.most ?? Number.POSITIVE_INFINITY)) this.columns[i].shift();
    }
  }

  draw(): void {
    this.plot.setData(this.columns as uPlot.AlignedData);
  }

  private make(): uPlot {
    const { lines, title, x, span, right } = this.options;
    const axis = { stroke: colour("--ink"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const series = lines.map((line) => ({
      label: line.label,
      stroke: colour(line.colour),
      width: 2,
      scale: line.right ? "right" : "y",
      // Two readings make no line to see.
      points: { show: (u: uPlot) => u.data[0].length < 3 },
    }));
    const axes: uPlot.Axis[] = [{ ...axis, label: x }, axis];
    if (right) axes.push({ ...axis, grid: { show: false }, scale: "right", side: 1, size: 64, label: right });
    return new uPlot(
      {
        width: this.place.clientWidth,
        height: HEIGHT,
        title,
        legend: { live: false },
        cursor: { show: false },
        scales: {
          x: { time: false, range: () => this.reach(span) },
          y: { range: fromZero },
          ...(right ? { right: { range: fromZero } } : {}),
        },
        axes,
        series: [{ label: x }, ...series],
      },
      this.columns as uPlot.AlignedData,
      this.place,
    );
  }

  /** From zero, until the oldest rows have gone. */
  private reach(span: number): [number, number] {
    const [xs] = this.columns as number[][];
    const low = xs.length >= (this.options.most ?? Number.POSITIVE_INFINITY) ? xs[0] : 0;
    return [low, Math.max(xs[xs.length - 1] ?? 0, low + span)];
  }
}

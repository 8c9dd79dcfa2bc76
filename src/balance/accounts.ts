/** What a service has carried: by the backends it has, by those that left but have flows yet, and by those that are gone. */
import { Estimator, type Rates } from "./estimator.ts";
import { addTraffic, type BalancePlane, noTraffic, type Traffic } from "./plane.ts";

export class Accounts {
  private readonly plane: BalancePlane;
  private readonly numbers = new Set<number>();
  private readonly past = noTraffic();
  private readonly estimator: Estimator;

  constructor(plane: BalancePlane, now: number) {
    this.plane = plane;
    this.estimator = new Estimator(noTraffic(), now);
  }

  add(backend: number): void {
    this.numbers.add(backend);
  }

  /** Its last flow has ended: its number is somebody else's from now on. */
  gone(backend: number): void {
    this.numbers.delete(backend);
    addTraffic(this.past, this.plane.traffic(backend));
  }

  get live(): number {
    let sum = 0;
    for (const number of this.numbers) sum += this.plane.live(number);
    return sum;
  }

  get traffic(): Traffic {
    const sum = { ...this.past };
    for (const number of this.numbers) addTraffic(sum, this.plane.traffic(number));
    return sum;
  }

  get rates(): Rates {
    return this.estimator.rates;
  }

  estimate(now: number): void {
    this.estimator.sample(this.traffic, now);
  }
}

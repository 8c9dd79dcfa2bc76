/** Classes that are called as old programs call Node's: `net.Socket()`, without `new`. */

type Class = abstract new (...args: never[]) => object;

/** The same class; called as a function it makes an object. */
export function callable<C extends Class>(made: C): C {
  const shown = new Proxy(made, { apply: (target, _this, args) => Reflect.construct(target as unknown as new () => object, args) });
  Object.defineProperty(made.prototype, "constructor", { value: shown, writable: true, configurable: true });
  return shown;
}

/** Classes that old programs use as they use Node's: `net.Socket()` without `new`, and `net.Socket.call(this)` of what inherits by `util.inherits`. */

type Class = abstract new (...args: never[]) => object;

/** The object that is to be made one of a class, while its constructor runs. */
let existing: object | undefined;

/** The same class; called as a function it makes an object, or makes what it is called on one of its own. */
export function callable<C extends Class>(made: C): C {
  const shown = new Proxy(made, {
    apply: (target, self: unknown, args) => {
      const make = () => Reflect.construct(target as unknown as new () => object, args);
      if (!Object.prototype.isPrototypeOf.call(target.prototype, self as object)) return make();
      existing = self as object;
      try {
        return make();
      } finally {
        existing = undefined;
      }
    },
  });
  Object.defineProperty(made.prototype, "constructor", { value: shown, writable: true, configurable: true });
  return shown;
}

/**
 * One of Node's own base classes for a class that is `callable`: `super()` returns the object that there is already, and what the class has
 * of fields is set up on that.
 */
export function calledOn<C extends Class>(base: C): C {
  function Base(this: unknown, ...args: unknown[]): object {
    const self = existing;
    existing = undefined;
    if (!self) return Reflect.construct(base as unknown as new () => object, args, new.target as never);
    Reflect.apply(base as never, self, args);
    return self;
  }
  Base.prototype = base.prototype;
  Object.setPrototypeOf(Base, base);
  return Base as unknown as C;
}

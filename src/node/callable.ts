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

/** Node's own classes of these modules are functions: they are called without `new`, and called by those that inherit from them (`Agent.call(this)`). */
type Made = (this: unknown, ...args: never[]) => unknown;

/** A class as Node writes them: over `base`, with something done to what it has made, and to what it is made of. */
export function classOver<C extends new (...args: never[]) => object>(
  name: string,
  base: C,
  done: (made: InstanceType<C>, ...args: ConstructorParameters<C>) => void = () => {},
  before: (...args: ConstructorParameters<C>) => void = () => {},
): C {
  const make: Made = function (this: unknown, ...args) {
    const given = args as unknown as ConstructorParameters<C>;
    before(...given);
    if (new.target === undefined && Object.prototype.isPrototypeOf.call(make.prototype, this as object)) {
      (base as unknown as Made).apply(this, args);
      done(this as InstanceType<C>, ...given);
      return undefined;
    }
    const made = Reflect.construct(base, args, new.target ?? make) as InstanceType<C>;
    done(made, ...given);
    return made;
  };
  Object.setPrototypeOf(make, base);
  make.prototype = Object.create(base.prototype, { constructor: { value: make, writable: true, configurable: true } });
  Object.defineProperty(make, "name", { value: name });
  return make as unknown as C;
}

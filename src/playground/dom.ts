/** What every section of the page needs: elements by id, figures, and that one demonstration has the processor at a time. */
export const byId = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;

export function setText(id: string, text: string): void {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

export const count = (n: number, what: string) => `${n.toLocaleString("en-US")} ${what}${n === 1 ? "" : "s"}`;

/** What is running now, and how it is stopped. */
let stopCurrent: (() => void) | undefined;

/** Stops what runs elsewhere on the page: two at once would halve each other's figures. */
export function takeProcessor(stop: () => void): void {
  if (stopCurrent !== stop) stopCurrent?.();
  stopCurrent = stop;
}

/** Calls once, when the element comes near the part of the page that is seen. */
export function whenNear(element: Element, then: () => void): void {
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      then();
    },
    { rootMargin: "400px" },
  );
  observer.observe(element);
}

/** A row of cells, the first of them its heading. */
export function row(name: string, ...cells: (string | Node)[]): HTMLTableRowElement {
  const tr = document.createElement("tr");
  const heading = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
  tr.append(heading);
  for (const cell of cells) {
    const td = document.createElement("td");
    td.append(cell);
    tr.append(td);
  }
  return tr;
}

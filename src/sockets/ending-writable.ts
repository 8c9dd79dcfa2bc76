/** A stream that its maker can close behind what was written to it, though somebody else holds its writer. */
export class EndingWritable extends WritableStream<unknown> {
  private writer: WritableStreamDefaultWriter<unknown> | undefined;

  override getWriter(): WritableStreamDefaultWriter<unknown> {
    this.writer = super.getWriter();
    return this.writer;
  }

  /** Resolves when all is out, or never will be. Rejects when the one who writes cannot be ended (`pipeTo`). */
  async finish(): Promise<void> {
    if (!this.locked) return this.close().catch(() => {});
    const { writer } = this;
    if (!writer) throw new TypeError("the stream is piped into");
    let held = true;
    try {
      void writer.desiredSize;
    } catch (error) {
      // A writer whose stream has failed says so by null, one that was released by an error.
      held = !(error instanceof TypeError);
    }
    if (!held) throw new TypeError("the stream is piped into");
    await writer.close().catch(() => {});
  }
}

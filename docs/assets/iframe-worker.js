// Search without a server. A browser starts no worker from a page that it opened from the disk. There, and only there, a
// hidden frame takes the worker's place: it has its own globals, and messages go both ways as a worker's do.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.append(frame);
      const inside = frame.contentWindow;
      const message = (data) => new MessageEvent("message", { data });
      inside.postMessage = (data) => this.dispatchEvent(message(data));
      const script = frame.contentDocument.createElement("script");
      script.src = String(url);
      this.ready = new Promise((resolve) => script.addEventListener("load", resolve));
      this.send = (data) => this.ready.then(() => inside.dispatchEvent(message(data)));
      frame.contentDocument.body.append(script);
    }

    postMessage(data) {
      this.send(data);
    }

    set onmessage(listener) {
      this.addEventListener("message", listener);
    }

    terminate() {}
  };
}

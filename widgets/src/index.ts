/** The session widget: what anywidget calls for each widget of a page and for each of its views. */
import type { InitializeProps, RenderProps } from "@anywidget/types";
import { Client, type WidgetState } from "./client";
import { View } from "./view";

export default () => {
  let client: Client | undefined;
  return {
    initialize({ model, signal }: InitializeProps<WidgetState>): void {
      client = new Client(model, signal);
    },
    render({ el, signal }: RenderProps<WidgetState>): void {
      if (client) new View(client, el, signal);
    },
  };
};

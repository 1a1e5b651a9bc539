// What pages do besides: parts that change are fetched again. Everything works without it.
"use strict";
(() => {
  const live = document.getElementById("live");
  const every = Number(live && live.dataset.refresh) * 1000;
  // Somebody who types, reads a list that is open, or marks text is not to be disturbed.
  const busy = () => {
    const here = document.activeElement;
    const typed = [...live.querySelectorAll("input:not([type=hidden])")].some((field) => field.value !== field.defaultValue);
    return document.hidden || typed || (here !== document.body && live.contains(here)) || String(getSelection());
  };
  const renew = async () => {
    if (busy()) return;
    try {
      const answer = await fetch(location.href, { headers: { "X-Perfopt-Fragment": "1" }, credentials: "same-origin" });
      const text = await answer.text();
      if (!answer.ok || answer.redirected || busy()) return;
      const open = [...live.querySelectorAll("details")].map((one) => one.open);
      const scrolled = [...live.querySelectorAll(".scroll, pre")].map((one) => [one.scrollLeft, one.scrollTop]);
      live.innerHTML = text;
      live.querySelectorAll("details").forEach((one, number) => { if (number in open) one.open = open[number]; });
      live.querySelectorAll(".scroll, pre").forEach((one, number) => {
        if (number in scrolled) [one.scrollLeft, one.scrollTop] = scrolled[number];
      });
    } catch { /* The console is away: what is shown stays, and the next time may do. */ }
  };
  if (every > 0) setInterval(renew, every);
  // Without a choice of one's own the button is the other one of what the system asks for.
  const button = document.querySelector("[data-theme-switch]");
  if (button && !document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches) {
    button.value = "light";
    button.textContent = "Light";
  }
})();

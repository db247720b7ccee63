// Conveniences only: every page works without this file.
"use strict";

// Copy buttons stand beside commands only where a script can copy.
for (const command of document.querySelectorAll(".command")) {
  const text = command.querySelector("code");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy: " + (command.dataset.name || "command"));
  const said = document.createElement("span");
  said.className = "hidden-text";
  said.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      // Without HTTPS browsers offer no clipboard: the text is selected instead, for Ctrl+C.
      copied = false;
      getSelection().selectAllChildren(text);
    }
    button.textContent = copied ? "Copied" : "Selected";
    said.textContent = copied ? "Copied" : "Selected: copy it with the keyboard";
    setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 2500);
  });
  command.append(button, said);
}

// The theme changes at once; the cookie is what the form would have set.
const theme = document.querySelector("form.theme");
if (theme) {
  theme.addEventListener("submit", (event) => {
    if (!event.submitter) return;
    event.preventDefault();
    const chosen = event.submitter.value;
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `theme=${chosen}; path=/; max-age=31536000; samesite=lax${secure}`;
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    for (const button of theme.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === chosen));
  });
}

// Times are written in UTC; pointing at one tells it in the reader's own zone.
for (const time of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(time.dateTime);
  if (!Number.isNaN(moment.getTime())) time.title = moment.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
}

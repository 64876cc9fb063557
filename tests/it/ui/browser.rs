//! What a browser makes of the pages: Chromium, as people have it, at the width of a telephone and of a desk, light and dark.

use super::fixture::Contents;
use super::{hostile, with_ui};
use crate::support::{Registry, Tools, process, within};

/// In CSS pixels.
const WIDTHS: [u32; 2] = [390, 1280];
/// How Chromium is told of the user's preference: dark, and light.
const SCHEMES: [&str; 2] = ["0", "1"];
/// What is run in a page: axe-core, and whether anything is wider than the page or a tag breaks within a word. The findings are the text
/// of the document around it.
const CHECKS: &str = r#"
addEventListener("load", async () => {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push("the page is wider than the screen");
  for (const tag of document.querySelectorAll(".tag a")) {
    const walker = document.createTreeWalker(tag, NodeFilter.SHOW_TEXT);
    let before = null;
    while (walker.nextNode()) {
      for (let at = 0; at < walker.currentNode.length; at++) {
        const range = document.createRange();
        range.setStart(walker.currentNode, at);
        range.setEnd(walker.currentNode, at + 1);
        const top = range.getBoundingClientRect().top;
        if (before && top > before.top + 4 && !"-_".includes(before.character)) found.push("a tag breaks in a word: " + tag.textContent);
        before = { top, character: range.toString() };
      }
    }
  }
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const result = await axe.run(document, { runOnly: { type: "tag", values: tags } });
  for (const violation of result.violations) {
    found.push(violation.id + ": " + violation.nodes.map((node) => node.html).join(" "));
  }
  const done = parent.document.createElement("pre");
  done.id = "done";
  done.textContent = result.passes.length + " rules passed\n" + found.join("\n");
  parent.document.body.append(done);
});
"#;

/// What Chromium, as people have it, makes of a page.
async fn browse(url: &str, arguments: &[&str]) -> (String, String) {
    let tools = Tools::new();
    let profile = format!("--user-data-dir={}", tools.folder().display());
    let mut command = tokio::process::Command::new(process::find("chromium"));
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            &profile,
        ])
        .args(arguments)
        .arg(url)
        .kill_on_drop(true);
    let output = within("Chromium shows a page", command.output())
        .await
        .expect("Chromium runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn chromium_has_nothing_to_complain_about() {
    let registry = Registry::v2().await;
    hostile(&registry.endpoint()).await;
    let refshim = with_ui(&registry.url()).await;
    for path in ["/ui/", "/ui/r/o/app", "/ui/r/o/app:v1"] {
        let (dom, log) = browse(&format!("{}{path}", refshim.url()), &["--dump-dom"]).await;
        assert!(dom.contains("</footer>"), "{path}: {dom}\n{log}");
        // Broken policies, missing files and whatever scripts would say.
        assert!(!log.contains("CONSOLE"), "{path}: {log}");
        assert!(!dom.contains("<title>taken") && !dom.contains("<img"), "{path}: {dom}");
        // Of the one script that the policy lets run.
        let buttons = dom.matches("aria-label=\"Copy ").count();
        assert_eq!(buttons > 0, path.contains(":v1"), "{path}: {dom}");
    }
}

/// A page with its style sheet, the checks and axe-core, in a frame of a width.
fn harness(html: &str, style: &str, axe: &str, width: u32) -> String {
    let link = "<link rel=\"stylesheet\" href=\"/ui/style.css\">";
    assert!(html.contains(link), "{html}");
    let html = html.replace(
        link,
        &format!("<style>{style}</style><script>{axe}</script><script>{CHECKS}</script>"),
    );
    let escaped = html.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!DOCTYPE html><body><iframe width=\"{width}\" height=\"4000\" style=\"border:0\" srcdoc=\"{escaped}\"></iframe></body>"
    )
}

#[tokio::test]
async fn pages_are_for_everybody_on_every_screen() {
    let registry = Registry::v2().await;
    let at = registry.endpoint();
    let contents = Contents::push(&at).await;
    at.push_image("o/app", "2026.11-nightly_build-of-the_main_branch-linux-amd64", "long")
        .await;
    let refshim = with_ui(&registry.url()).await;
    let at = refshim.endpoint();
    let axe = std::fs::read_to_string(process::find("axe.min.js")).expect("axe-core: run tests/install-tools");
    let axe = axe.replace("</script", "<\\/script");
    let style = at.get("/ui/style.css").await.expect_status(200).text();
    let folder = tempfile::tempdir().unwrap();
    let paths = [
        "/ui/".to_owned(),
        "/ui/?repository=nothing".to_owned(),
        "/ui/r/o/app".to_owned(),
        "/ui/r/o/app:1.10".to_owned(),
        format!("/ui/r/o/app@{}", contents.signature.digest),
        format!("/ui/r/o/app@{}", contents.sbom.digest),
        "/ui/login".to_owned(),
        "/ui/r/o/none".to_owned(),
    ];
    for (number, path) in paths.iter().enumerate() {
        let html = at.get(path).await.text();
        for width in WIDTHS {
            let file = folder.path().join(format!("{number}-{width}.html"));
            std::fs::write(&file, harness(&html, &style, &axe, width)).unwrap();
            for scheme in SCHEMES {
                let preferred = format!("--blink-settings=preferredColorScheme={scheme}");
                let arguments = [&preferred, "--dump-dom", "--virtual-time-budget=20000"];
                let (dom, log) = browse(&format!("file://{}", file.display()), &arguments).await;
                let found = dom
                    .split("<pre id=\"done\">")
                    .nth(1)
                    .unwrap_or_else(|| panic!("{path}: {log}"));
                let found = found.split("</pre>").next().unwrap();
                let (passed, found) = found.split_once('\n').unwrap();
                assert!(
                    passed.ends_with("rules passed") && !passed.starts_with("0 "),
                    "{path}: {passed}"
                );
                assert_eq!(found, "", "{path} at {width} pixels, scheme {scheme}");
            }
        }
    }
}

/// The badges are drawn, and the style sheet is used: a page with and without it are not alike.
#[tokio::test]
async fn it_is_light_or_dark_as_people_want_it() {
    let registry = Registry::v2().await;
    hostile(&registry.endpoint()).await;
    let refshim = with_ui(&registry.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut pictures = Vec::new();
    for scheme in SCHEMES {
        let file = folder.path().join(format!("{scheme}.png"));
        let screenshot = format!("--screenshot={}", file.display());
        let preferred = format!("--blink-settings=preferredColorScheme={scheme}");
        let url = format!("{}/ui/r/o/app:v1", refshim.url());
        let (_, log) = browse(&url, &[&screenshot, &preferred, "--window-size=1000,800"]).await;
        pictures.push(std::fs::read(&file).unwrap_or_else(|error| panic!("{error}: {log}")));
    }
    assert!(pictures.iter().all(|picture| picture.starts_with(b"\x89PNG")));
    assert_ne!(pictures[0], pictures[1]);
}

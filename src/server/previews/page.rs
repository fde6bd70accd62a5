//! What a page says of itself: properties of the [Open Graph protocol](https://ogp.me/), those that Twitter took for the
//! same, and what every page has.
//!
//! Pages are tag soup of strangers. A streaming tokenizer goes through the text once; no tree is built, and what is kept
//! of it is bounded. Nothing here waits or asks anybody.

use std::collections::BTreeMap;

use depesche_rules::bounds::{
    MAX_PREVIEW_NAME_BYTES, MAX_PREVIEW_PROPERTIES, MAX_PREVIEW_TEXT_BYTES, MAX_PREVIEW_URL_BYTES,
};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use url::Url;

/// How far from its beginning a page may say in which character set it is.
/// [Encoding sniffing](https://html.spec.whatwg.org/multipage/parsing.html#prescan-a-byte-stream-to-determine-its-encoding).
const PRESCAN_BYTES: usize = 1024;

/// What a page says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Page {
    /// Properties by name, `og:title` and the like; those of the picture are left out.
    pub properties: BTreeMap<String, String>,
    /// The address of the picture that stands for the page.
    pub picture: Option<Url>,
}

/// Reads a page: its bytes, what the `Content-Type` said, and where it lies.
pub fn read(bytes: &[u8], content_type: Option<&str>, at: &Url) -> Page {
    let text = decoded(bytes, content_type);
    let mut said = Said::default();
    for Ok(token) in tokens(text.as_bytes()) {
        match token {
            Token::StartTag(tag) => said.start(&tag),
            Token::String(text) => said.text(&text),
            Token::EndTag(tag) if matches!(&tag.name[..], b"title" | b"h1") => said.within = Within::Nothing,
            _ => {}
        }
    }
    said.page(at)
}

fn tokens(text: &[u8]) -> impl Iterator<Item = Result<Token, std::convert::Infallible>> {
    let mut emitter = DefaultEmitter::default();
    // So that what stands in scripts and styles is not taken for tags.
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(text, emitter)
}

/// The text of a page, in the character set of its byte order mark, its header or its own words.
fn decoded<'a>(bytes: &'a [u8], content_type: Option<&str>) -> std::borrow::Cow<'a, str> {
    let encoding = content_type
        .and_then(charset)
        .or_else(|| prescan(&bytes[..bytes.len().min(PRESCAN_BYTES)]))
        .unwrap_or_else(|| if std::str::from_utf8(bytes).is_ok() { UTF_8 } else { WINDOWS_1252 });
    // A byte order mark outranks them all.
    encoding.decode(bytes).0
}

/// The character set that a `Content-Type` names.
fn charset(content_type: &str) -> Option<&'static Encoding> {
    let at = content_type.to_ascii_lowercase().find("charset=")? + "charset=".len();
    let label = content_type[at..].split(';').next()?;
    Encoding::for_label(label.trim().trim_matches(['"', '\'']).as_bytes())
}

/// The character set that a page names at its beginning.
fn prescan(bytes: &[u8]) -> Option<&'static Encoding> {
    let found = tokens(bytes).find_map(|Ok(token)| {
        let Token::StartTag(tag) = token else { return None };
        if &tag.name[..] != b"meta" {
            return None;
        }
        match attribute(&tag, "charset") {
            Some(label) => Encoding::for_label(label.as_bytes()),
            None => charset(&attribute(&tag, "content")?),
        }
    })?;
    // Who could write that in ASCII is not UTF-16.
    Some(if found.is_ascii_compatible() { found } else { UTF_8 })
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// Whose text comes next.
#[derive(Default)]
enum Within {
    Title,
    Heading,
    #[default]
    Nothing,
}

/// All that was found, the first of each.
#[derive(Default)]
struct Said {
    within: Within,
    properties: BTreeMap<String, String>,
    title: String,
    heading: String,
    description: String,
    base: Option<String>,
    linked: Option<String>,
    shown: Option<String>,
}

impl Said {
    fn start(&mut self, tag: &StartTag<()>) {
        match &tag.name[..] {
            b"title" if self.title.is_empty() => self.within = Within::Title,
            b"h1" if self.heading.is_empty() => self.within = Within::Heading,
            b"meta" => self.meta(tag),
            b"base" => self.base = self.base.take().or_else(|| attribute(tag, "href")),
            b"link" if attribute(tag, "rel").is_some_and(|rel| rel.eq_ignore_ascii_case("image_src")) => {
                self.linked = self.linked.take().or_else(|| attribute(tag, "href"));
            }
            b"img" => {
                let source = attribute(tag, "src").filter(|source| !source.trim_start().starts_with("data:"));
                self.shown = self.shown.take().or(source);
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &[u8]) {
        let text = plain(text);
        let of = match self.within {
            Within::Title => &mut self.title,
            Within::Heading => &mut self.heading,
            Within::Nothing => return,
        };
        if !text.is_empty() && of.len() < MAX_PREVIEW_TEXT_BYTES {
            if !of.is_empty() {
                of.push(' ');
            }
            of.push_str(&text);
        }
    }

    fn meta(&mut self, tag: &StartTag<()>) {
        let Some(name) = attribute(tag, "property").or_else(|| attribute(tag, "name")) else { return };
        let Some(content) = attribute(tag, "content") else { return };
        let name = name.trim().to_ascii_lowercase();
        if name == "description" && self.description.is_empty() {
            self.description = plain(content.as_bytes());
        }
        let known = name.starts_with("og:") || name.starts_with("twitter:");
        let room = self.properties.len() < MAX_PREVIEW_PROPERTIES && name.len() <= MAX_PREVIEW_NAME_BYTES;
        let is_address = name.starts_with("og:image") || name.starts_with("twitter:image");
        let value = if is_address { address(&content) } else { plain(content.as_bytes()) };
        if known && room && !value.is_empty() {
            self.properties.entry(name).or_insert(value);
        }
    }

    fn page(mut self, at: &Url) -> Page {
        let base = self.base.take().and_then(|base| at.join(base.trim()).ok()).unwrap_or_else(|| at.clone());
        let picture = self.picture().and_then(|picture| base.join(picture.trim()).ok());
        let (title, description) = (self.first("title"), self.first("description"));
        let title = title.or_else(|| [&self.title, &self.heading].into_iter().find(|text| !text.is_empty()).cloned());
        let description = description.or_else(|| Some(self.description.clone()).filter(|text| !text.is_empty()));
        let mut properties = self.properties;
        properties.retain(|name, _| name.starts_with("og:") && !name.starts_with("og:image"));
        properties.extend(title.map(|title| ("og:title".to_owned(), title)));
        properties.extend(description.map(|description| ("og:description".to_owned(), description)));
        Page { properties, picture: picture.filter(|url| matches!(url.scheme(), "http" | "https")) }
    }

    /// A property by either of its names.
    fn first(&self, name: &str) -> Option<String> {
        let of = |prefix: &str| self.properties.get(&format!("{prefix}:{name}"));
        of("og").or_else(|| of("twitter")).cloned()
    }

    fn picture(&mut self) -> Option<String> {
        let names = ["og:image", "og:image:secure_url", "og:image:url", "twitter:image", "twitter:image:src"];
        let named = names.into_iter().find_map(|name| self.properties.get(name).cloned());
        named.or_else(|| self.linked.take()).or_else(|| self.shown.take())
    }
}

/// An address, unless it is too long to be one.
fn address(text: &str) -> String {
    if text.len() <= MAX_PREVIEW_URL_BYTES { text.trim().to_owned() } else { String::new() }
}

/// A text for people: on one line, without what cannot be seen, and not longer than allowed.
fn plain(text: &[u8]) -> String {
    // More is not looked at: of what is left after this, most is shown.
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * MAX_PREVIEW_TEXT_BYTES)]);
    let words = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let mut line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.len() > MAX_PREVIEW_TEXT_BYTES {
        line.truncate(line.floor_char_boundary(MAX_PREVIEW_TEXT_BYTES));
        line.truncate(line.trim_end().len());
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Page {
        read(text.as_bytes(), None, &Url::parse("https://a.test/dir/page").unwrap())
    }

    fn property<'a>(page: &'a Page, name: &str) -> &'a str {
        page.properties.get(name).map_or("", String::as_str)
    }

    fn picture(page: &Page) -> &str {
        page.picture.as_ref().map_or("", Url::as_str)
    }

    #[test]
    fn properties_are_told_as_the_page_names_them() {
        let page = of("<html><head><title>other</title>\
            <meta property='og:title' content='The &quot;title&quot;&#x21;'>\
            <META PROPERTY=OG:Type CONTENT=article />\
            <meta property=og:title content=second>\
            <meta name=og:site_name content=' A\n  site\u{7} '>\
            <meta property=og:image content='/p.png'><meta property=og:image:width content=12>\
            <meta property=fb:app content=1><meta property=og:empty content=''>");
        assert_eq!(property(&page, "og:title"), "The \"title\"!");
        assert_eq!(property(&page, "og:type"), "article");
        assert_eq!(property(&page, "og:site_name"), "A site");
        assert_eq!(picture(&page), "https://a.test/p.png");
        assert_eq!(page.properties.len(), 3, "{page:?}");
    }

    #[test]
    fn what_a_page_lacks_is_taken_from_elsewhere() {
        let page = of("<meta name=twitter:title content=T><meta name=twitter:image content=p.jpg>\
            <title>other</title><meta name=Description content='What it is'>");
        assert_eq!((property(&page, "og:title"), property(&page, "og:description")), ("T", "What it is"));
        assert_eq!(picture(&page), "https://a.test/dir/p.jpg");
        let page = of("<base href='https://b.test/x/'><title> A \n title </title><h1>Heading</h1>\
            <img src='data:image/png;base64,AA'><img src=one.png><img src=two.png>");
        assert_eq!(property(&page, "og:title"), "A title");
        assert_eq!(picture(&page), "https://b.test/x/one.png");
        let page =
            of("<body><h1>A <b>large</b>\n heading</h1><h1>Other</h1><link rel=image_src href=l.png><img src=one.png>");
        assert_eq!((property(&page, "og:title"), picture(&page)), ("A large heading", "https://a.test/dir/l.png"));
        assert_eq!(of(""), Page::default());
        assert_eq!(of("just text"), Page::default());
    }

    #[test]
    fn scripts_and_broken_tags_say_nothing() {
        let page = of("<script>var a = '<meta property=og:title content=script>'</script>\
            <!-- <meta property=og:title content=comment> --><style><title>style</title></style>\
            <meta property=og:title content=right><meta property=og:url content=unfinished");
        assert_eq!(property(&page, "og:title"), "right");
        assert_eq!(page.properties.len(), 1, "{page:?}");
        for address in ["javascript:alert(1)", "file:///etc/passwd", "data:image/png,x", "http://"] {
            assert_eq!(picture(&of(&format!("<meta property=og:image content='{address}'>"))), "", "{address}");
        }
    }

    #[test]
    fn all_that_is_kept_is_bounded() {
        let many: String = (0..1000).fold(String::new(), |many, n| many + &format!("<meta property=og:{n} content=x>"));
        assert_eq!(of(&many).properties.len(), MAX_PREVIEW_PROPERTIES);
        let long = "word ".repeat(10_000);
        let page = of(&format!(
            "<meta property=og:title content='{long}'><meta property='og:{long}' content=x>\
            <meta property=og:image content='https://a.test/{long}'><title>{}</title>",
            "ä".repeat(100_000)
        ));
        assert!(property(&page, "og:title").len() <= MAX_PREVIEW_TEXT_BYTES + '…'.len_utf8());
        assert!(property(&page, "og:title").ends_with("word…"));
        assert_eq!((page.properties.len(), picture(&page)), (1, ""));
    }

    #[test]
    fn the_character_set_is_found() {
        let at = Url::parse("https://a.test/").unwrap();
        let title = |bytes: &[u8], kind: Option<&str>| property(&read(bytes, kind, &at), "og:title").to_owned();
        let latin = b"<title>Gr\xFC\xDFe</title>";
        assert_eq!(title(latin, Some("text/html; Charset=\"ISO-8859-1\"")), "Grüße");
        assert_eq!(title(&[b"<meta charset=iso-8859-15>", &latin[..]].concat(), Some("text/html")), "Grüße");
        let http = b"<meta http-equiv=Content-Type content='text/html; charset=windows-1251'><title>\xCF</title>";
        assert_eq!(title(http, None), "П");
        assert_eq!(title(latin, None), "Grüße", "what is no UTF-8 is taken for what it most likely is");
        assert_eq!(title("<title>Grüße</title>".as_bytes(), None), "Grüße");
        assert_eq!(title(b"\xEF\xBB\xBF<title>\xC3\xBC</title>", Some("text/html; charset=iso-8859-1")), "ü");
        assert_eq!(title(b"<meta charset=utf-16><title>\xC3\xBC</title>", None), "ü");
        assert_eq!(title(b"<meta charset=nonsense><title>x</title>", Some("text/html; charset=")), "x");
    }
}

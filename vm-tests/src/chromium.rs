//! Chromium (Debian's package `chromium`) without a screen, in a network namespace with nothing in it: what a person would
//! see of a page that is a file.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::netns::{self, Netns};
use crate::process::ProcessGuard;

/// It begins slowly on a busy machine.
const LIMIT: Duration = Duration::from_mins(3);
/// How a line of its log begins that a page has caused: what a script says, what is refused or cannot be loaded.
const CONSOLE: &str = ":CONSOLE";

/// A browser that reaches nobody. Its files are in a folder of its own.
#[derive(Debug)]
pub struct Chromium<'a> {
    nowhere: Netns,
    directory: &'a Path,
}

/// What came of a page.
#[derive(Debug)]
pub struct Opened {
    /// What the page has caused in the console, a line each.
    pub console: Vec<String>,
    /// What was asked for: a picture or a PDF.
    pub file: PathBuf,
}

/// Colours of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub size: (u32, u32),
    /// How many different colours it has.
    pub colours: usize,
    /// How bright it is, from 0 to 255.
    pub brightness: u64,
}

impl<'a> Chromium<'a> {
    /// A browser that keeps its files in `directory`.
    pub fn new(directory: &'a Path) -> Result<Self> {
        let nowhere = Netns::create(&format!("{}-nowhere", netns::unique_prefix()))?;
        Ok(Self { nowhere, directory })
    }

    /// A picture of a page in a window of this size, as those see it who like it dark, or light.
    pub fn picture(&self, page: &Path, (width, height): (u32, u32), dark: bool) -> Result<Opened> {
        let file = self.directory.join(format!("page-{width}-{dark}.png"));
        let scheme = u32::from(!dark);
        self.open(
            page,
            &file,
            &[
                format!("--window-size={width},{height}"),
                "--hide-scrollbars".to_owned(),
                format!("--blink-settings=preferredColorScheme={scheme}"),
                format!("--screenshot={}", file.display()),
            ],
        )
    }

    /// A page as it is printed.
    pub fn print(&self, page: &Path) -> Result<Opened> {
        let file = self.directory.join("page.pdf");
        let print = format!("--print-to-pdf={}", file.display());
        self.open(page, &file, &["--no-pdf-header-footer".to_owned(), print])
    }

    fn open(&self, page: &Path, file: &Path, words: &[String]) -> Result<Opened> {
        let profile = self.directory.join("chromium");
        let log = file.with_extension("log");
        let mut command: Command = self.nowhere.command("chromium");
        command
            // It is root, in a test.
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--enable-logging=stderr", "--log-level=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(words)
            .arg(format!("file://{}", page.display()));
        let mut process = ProcessGuard::spawn("chromium", &mut command, &log)
            .context("is Debian's package chromium there?")?;
        let ended = process.wait(LIMIT)?;
        let output = process.output();
        ensure!(ended.success() && file.is_file(), "chromium: {output}");
        let console = output.lines().filter(|line| line.contains(CONSOLE));
        Ok(Opened {
            console: console.map(str::to_owned).collect(),
            file: file.to_owned(),
        })
    }
}

/// What is in a picture.
pub fn look_at(file: &Path) -> Result<Picture> {
    let decoder = png::Decoder::new(BufReader::new(File::open(file)?));
    let mut reader = decoder.read_info()?;
    let length = reader
        .output_buffer_size()
        .context("a picture without end")?;
    let mut pixels = vec![0; length];
    let info = reader.next_frame(&mut pixels)?;
    let pixels = &pixels[..info.buffer_size()];
    let samples = info.color_type.samples();
    let colours: std::collections::HashSet<&[u8]> = pixels.chunks(samples).collect();
    let sum: u64 = pixels
        .chunks(samples)
        .map(|pixel| u64::from(pixel[0]))
        .sum();
    Ok(Picture {
        size: (info.width, info.height),
        colours: colours.len(),
        brightness: sum / u64::from(info.width * info.height).max(1),
    })
}

/// Sheets of a PDF that Chromium has written.
pub fn sheets_of(file: &Path) -> Result<usize> {
    let bytes = fs::read(file)?;
    ensure!(bytes.starts_with(b"%PDF-"), "{} is no PDF", file.display());
    let text = String::from_utf8_lossy(&bytes);
    let pages = text.matches("/Type /Page").count();
    Ok(pages - text.matches("/Type /Pages").count())
}

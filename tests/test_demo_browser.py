"""The page as a person sees and uses it, in a browser without a window."""

import shutil
from io import BytesIO

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from selenium_axe_python.axe import Axe

from animate_anyone.cli import main
from animate_anyone.convert.poses import convert_pose_models
from animate_anyone.media.read import read_video
from animate_anyone.media.write import write_video
from animate_anyone.page import make_demo
from demo_model.examples import FOLDER
from demo_model.files import WEIGHTS

from conftest import TOY, load_case
from test_real_files import QUARTERS, RED, heard, make, near, with_matrix

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
REFERENCE = TOY / "short" / "reference.png"
ENDS = (".mp4", "-side-by-side.mp4", ".gif")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio"),
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs the programs chromium and chromedriver"
    ),
]


@pytest.fixture(scope="module")
def url(pipe, tmp_path_factory):
    """Address of a page with one example of each kind."""
    folder = tmp_path_factory.mktemp("browser")
    pose_video = write_video(load_case("long")[2][:10], folder / "walk.mp4", 25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "cache"))
        demo = make_demo(pipe, [REFERENCE, pose_video])
        _, url, _ = demo.launch(prevent_thread_lock=True, inline=False)
        yield url
        demo.close()


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, wide enough for both columns."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1400,1200"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """What a person can do on the page."""

    def __init__(self, browser, url: str):
        self.browser = browser
        browser.get(url)
        self.wait(lambda: self.button("Generate").is_displayed())

    def wait(self, condition, seconds: float = 40):
        ignored = (Exception,)  # an element may be replaced while it is looked at
        return WebDriverWait(self.browser, seconds, 0.1, ignored).until(lambda _: condition())

    def find(self, selector: str) -> list:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def button(self, text: str):
        path = f"//button[normalize-space()='{text}']"
        found = self.browser.find_elements(By.XPATH, path)
        return next(button for button in found if button.is_displayed())  # tabs have hidden twins

    def shows(self, text: str) -> bool:
        return text in self.browser.find_element(By.TAG_NAME, "body").text.replace("\n", "")

    def downloads(self) -> list[str]:
        links = [link for link in self.find("a[download]") if link.is_displayed()]
        return [link.get_attribute("download") for link in links]

    def upload_image(self, path) -> None:
        self.find("input[type=file][accept*=image]")[0].send_keys(str(path))

    def click_example(self, kind: str) -> None:
        self.wait(lambda: self.find(f".gallery-item {kind}")[0].is_displayed())
        self.find(f".gallery-item {kind}")[0].click()

    def enter(self, side: int, frames: int, steps: int) -> None:
        values = {"Longer side": side, "Length": frames, "number input for Steps": steps}
        for label, value in values.items():
            box = self.find(f"input[aria-label='{label}']")[0]
            box.send_keys(Keys.CONTROL, "a")
            box.send_keys(str(value), Keys.ENTER)


def serious(browser) -> list[str]:
    """What keeps people from using the page, as axe-core finds it: rule and element."""
    axe = Axe(browser)
    axe.inject()
    found = axe.run()["violations"]
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.fixture
def page(browser, url) -> Page:
    """The page, freshly loaded."""
    return Page(browser, url)


def test_upload_generate_play(page):
    """From an uploaded image to a video that plays, with its downloads and settings."""
    page.upload_image(REFERENCE)
    page.click_example("video")
    page.enter(side=64, frames=4, steps=3)
    page.wait(lambda: page.shows("What the model sees, 48 × 64 pixels each"))
    assert serious(page.browser) == []
    page.button("Generate").click()
    page.wait(lambda: page.shows("Finished in "))
    assert serious(page.browser) == []
    video = page.wait(lambda: page.find("[role=tabpanel] video")[0])
    page.wait(lambda: float(video.get_property("currentTime")) > 0)
    assert (video.get_property("videoWidth"), video.get_property("videoHeight")) == (48, 64)
    page.button("Downloads").click()
    page.wait(lambda: page.downloads() == [f"reference-walk-0{end}" for end in ENDS])
    page.button("Settings").click()
    page.wait(lambda: page.shows('"num_inference_steps":3,'))
    assert [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_cancel(page):
    """The preview comes and goes, the run stops, and Generate is ready again."""
    page.click_example("img")
    page.click_example("video")
    page.enter(side=128, frames=10, steps=100)
    page.wait(lambda: page.shows("What the model sees, 96 × 128 pixels each"))
    page.button("Generate").click()
    page.wait(lambda: page.shows(" min left"))
    preview = "[data-testid=image] img, .image-frame img"
    page.wait(lambda: any(image.is_displayed() for image in page.find(preview)))
    assert not page.button("Generate").is_enabled()
    assert serious(page.browser) == []
    page.button("Cancel").click()
    page.wait(lambda: page.shows("Stopped."))
    page.wait(lambda: page.button("Generate").is_enabled())
    assert not page.button("Cancel").is_enabled()
    assert not page.shows("Preview")


def test_missing_image(page):
    """A message in the page, and nothing starts."""
    page.click_example("video")
    page.button("Generate").click()
    page.wait(lambda: page.shows("The reference image is missing"))
    assert page.button("Generate").is_enabled()


def test_dice(page):
    page.button("Another seed").click()
    box = page.find("input[type=number][aria-label$=Seed]")[0]
    page.wait(lambda: int(box.get_property("value")) > 0)


class Player:
    """A video in an empty page, as the browser itself plays it."""

    def __init__(self, browser, path):
        self.browser = browser
        browser.get("about:blank")
        page = path.with_suffix(".html")
        page.write_text(f"<body style='margin:0'><video muted src='{path.name}'></video>")
        browser.get(page.as_uri())
        WebDriverWait(browser, 20).until(lambda _: self.get("readyState") >= 2)

    def get(self, name: str):
        return self.browser.execute_script(f"return document.querySelector('video').{name}")

    def play_to_the_end(self) -> None:
        self.browser.execute_script("document.querySelector('video').play()")
        WebDriverWait(self.browser, 30).until(lambda _: self.get("ended"))


@pytest.mark.parametrize("turn", QUARTERS)
def test_the_browser_turns_films_as_we_do(browser, tmp_path, turn):
    path = make(tmp_path / "film.mp4", [0, 0.1, 0.2])
    with_matrix(path, QUARTERS[turn])
    ours, player = read_video(path).frames[0], Player(browser, path)
    assert (player.get("videoWidth"), player.get("videoHeight")) == ours.size
    video = browser.find_element(By.TAG_NAME, "video")
    shown = Image.open(BytesIO(video.screenshot_as_png)).convert("RGB").resize(ours.size)
    corners = [(x, y) for x in (5, ours.width - 6) for y in (5, ours.height - 6)]
    assert [near(shown.getpixel(at), RED, 40) for at in corners] == [
        near(ours.getpixel(at), RED, 40) for at in corners
    ]


@pytest.mark.slow
def test_a_phone_video_is_animated(browser, demo_models, tmp_path):
    """Turned, uneven, with sound: the result plays as long as the source, and so does its sound."""
    convert_pose_models(WEIGHTS, demo_models)
    film, result = tmp_path / "phone.mp4", tmp_path / "result.mp4"
    frames = list(read_video(FOLDER / "lanky.mp4", 12).frames)
    times = [index / 10 for index in range(5)] + [1 + index / 10 for index in range(7)]
    turned = [frame.transpose(Image.Transpose.ROTATE_90) for frame in frames]
    make(film, times, sound=1.7, pictures=turned)
    with_matrix(film, QUARTERS["quarter"])
    command = ["animate", "--models", demo_models, "--reference", FOLDER / "curly.png"]
    command += ["--video", film, "--output", result, "--preset", "fast", "--only-result"]
    assert main([str(word) for word in command]) == 0
    assert len(read_video(result).frames) == 17
    player = Player(browser, result)
    assert player.get("duration") == pytest.approx(1.7, abs=0.05)
    assert heard(result) == pytest.approx((0, 1.7), abs=0.05)
    player.play_to_the_end()
    assert player.get("webkitAudioDecodedByteCount") > 1000
    assert player.get("videoWidth") == read_video(result, 1).frames[0].width

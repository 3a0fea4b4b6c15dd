// A scripted iptux: the engine of Debian's iptux package (libiptux-core 0.8.3), driven by lines on standard input.
//
// Each input line is one JSON object {"do": NAME, ...}; each output line is one JSON object {"event": NAME, "at": SECONDS,
// ...}, where SECONDS is CLOCK_MONOTONIC, so that a test can compare it with its own clock. The engine says nothing when
// it learns of a user through BR_ABSENCE, so the roster is compared with its last state every 5 ms: "listed", "changed"
// and "gone" are what a person in front of the window would see. Settings come from $HOME/.iptux/config.json.
//
//   roster                      -> roster {users: [...]}, the users that are online and those that are not
//   send {to, text}             -> sent {ok}           a text message; ok: the other side gave a receipt
//   refresh                     -> cleared, refreshed  what F5 does: forget who is online, ask everybody again
//   detect {to}                 -> detected            BR_ENTRY to one address
//   rename {name}               -> renamed
//   offer {to, path}            -> offered             a file; the other side sees file_offered {sender, number, name}
//   fetch {number, into}        -> fetched {ok, path}  take a file that was offered, into a directory
//   share {path}, ask {to}      -> shared, asked       the public list of files; arrives as file_offered
//   exit                        -> stopped             says goodbye to everybody it lists, then ends
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <json/json.h>

#include <iptux-core/CoreThread.h>
#include <iptux-core/Event.h>
#include <iptux-core/ProgramData.h>

namespace {

using iptux::CoreThread;
using iptux::FileInfo;

std::mutex output;
std::mutex offers_lock;
std::map<int, FileInfo> offers;
int last_offer = 0;
std::atomic<bool> cleared{false};

double now() {
  timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec + at.tv_nsec / 1e9;
}

void say(const std::string& event, Json::Value what = Json::objectValue) {
  static Json::StreamWriterBuilder builder = [] {
    Json::StreamWriterBuilder made;
    made["indentation"] = "";
    return made;
  }();
  what["event"] = event;
  what["at"] = now();
  std::string line = Json::writeString(builder, what) + "\n";
  std::lock_guard<std::mutex> hold(output);
  for (size_t done = 0; done < line.size();) {
    ssize_t n = write(STDOUT_FILENO, line.data() + done, line.size() - done);
    if (n <= 0) _exit(3);  // the test is gone
    done += n;
  }
}

std::string dotted(in_addr address) {
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &address, text, sizeof text);
  return text;
}

Json::Value described(const iptux::PalInfo& pal) {
  Json::Value user;
  user["address"] = dotted(pal.ipv4);
  user["name"] = pal.getName();
  user["logon"] = pal.getUser();
  user["host"] = pal.getHost();
  user["group"] = pal.getGroup();
  user["version"] = pal.getVersion();
  user["charset"] = pal.getEncode();
  user["iptux"] = pal.isCompatible();
  user["online"] = pal.isOnline();
  return user;
}

std::map<std::string, Json::Value> listed(CoreThread& engine) {
  std::map<std::string, Json::Value> users;
  engine.Lock();
  for (const auto& pal : engine.GetPalList()) users[dotted(pal->ipv4)] = described(*pal);
  engine.Unlock();
  return users;
}

void watch(CoreThread& engine, const std::atomic<bool>& running) {
  std::map<std::string, Json::Value> before;
  while (running) {
    engine.Lock();
    if (cleared.exchange(false)) before.clear();
    engine.Unlock();
    auto after = listed(engine);
    for (const auto& [address, user] : after) {
      auto known = before.find(address);
      bool was = known != before.end() && known->second["online"].asBool();
      bool is = user["online"].asBool();
      if (is && !was)
        say("listed", user);
      else if (was && !is)
        say("gone", user);
      else if (is && known->second != user)
        say("changed", user);
    }
    before = std::move(after);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void on_event(std::shared_ptr<const iptux::Event> event) {
  Json::Value what(Json::objectValue);
  switch (event->getType()) {
    case iptux::EventType::NEW_MESSAGE: {
      const auto& message = dynamic_cast<const iptux::NewMessageEvent&>(*event).getMsgPara();
      std::string text;
      for (const auto& part : message.dtlist) text += part.data;
      what["sender"] = dotted(message.getPal()->ipv4);
      what["text"] = text;
      say("message", what);
      break;
    }
    case iptux::EventType::NEW_SHARE_FILE_FROM_FRIEND: {
      const auto& file = dynamic_cast<const iptux::NewShareFileFromFriendEvent&>(*event).GetFileInfo();
      std::lock_guard<std::mutex> hold(offers_lock);
      offers.emplace(++last_offer, file);
      what["number"] = last_offer;
      what["sender"] = dotted(file.fileown->ipv4);
      what["name"] = file.filepath ? file.filepath : "";
      what["size"] = Json::Int64(file.filesize);
      say("file_offered", what);
      break;
    }
    default:
      break;
  }
}

FileInfo file_at(const std::string& path, iptux::CPPalInfo owner) {
  static std::atomic<uint32_t> last_id{static_cast<uint32_t>(time(nullptr)) & 0x7fffff};
  struct stat on_disk {};
  stat(path.c_str(), &on_disk);
  FileInfo file;
  file.fileid = ++last_id;
  file.fileattr = iptux::FileAttr::REGULAR;
  file.fileown = owner;
  file.filepath = g_strdup(path.c_str());
  file.filesize = on_disk.st_size;
  file.filectime = on_disk.st_ctime;
  file.filemtime = on_disk.st_mtime;
  return file;
}

void fetch(CoreThread* engine, int number, std::string into) {
  std::unique_lock<std::mutex> hold(offers_lock);
  FileInfo file(offers.at(number));  // the library exports no assignment
  hold.unlock();
  char* name = g_path_get_basename(file.filepath);
  std::string path = into + "/" + name;
  g_free(name);
  g_free(file.filepath);
  file.filepath = g_strdup(path.c_str());
  engine->RecvFile(&file);
  struct stat on_disk {};
  Json::Value what(Json::objectValue);
  what["path"] = path;
  what["ok"] = stat(path.c_str(), &on_disk) == 0 && on_disk.st_size == file.filesize;
  say("fetched", what);
}

void send(CoreThread* engine, iptux::CPPalInfo user, std::string text) {
  Json::Value what(Json::objectValue);
  what["ok"] = engine->SendMessage(user, text);  // returns only when it looked for the receipt: a second
  say("sent", what);
}

void obey(CoreThread& engine, iptux::ProgramData& settings, const Json::Value& line) {
  const std::string what = line["do"].asString();
  Json::Value answer(Json::objectValue);
  auto user = line.isMember("to") ? engine.GetPal(line["to"].asString()) : nullptr;
  if (line.isMember("to") && !user && what != "detect") {
    answer["reason"] = "no such user: " + line["to"].asString();
    say("refused", answer);
  } else if (what == "roster") {
    answer["users"] = Json::arrayValue;
    for (const auto& [address, user] : listed(engine)) answer["users"].append(user);
    say("roster", answer);
  } else if (what == "send") {
    std::thread(send, &engine, user, line["text"].asString()).detach();
  } else if (what == "refresh") {
    engine.Lock();
    engine.ClearAllPalFromList();
    cleared = true;
    say("cleared");
    engine.Unlock();
    CoreThread::SendNotifyToAll(&engine);
    say("refreshed");
  } else if (what == "detect") {
    engine.SendDetectPacket(line["to"].asString());
    say("detected");
  } else if (what == "rename") {
    settings.nickname = line["name"].asString();
    engine.UpdateMyInfo();
    say("renamed");
  } else if (what == "offer") {
    auto file = std::make_shared<FileInfo>(file_at(line["path"].asString(), user));
    engine.AddPrivateFile(file);
    engine.BcstFileInfoEntry({user.get()}, {file.get()});
    say("offered");
  } else if (what == "fetch") {
    std::thread(fetch, &engine, line["number"].asInt(), line["into"].asString()).detach();
  } else if (what == "share") {
    settings.AddShareFileInfo(file_at(line["path"].asString(), nullptr));
    for (auto& file : settings.GetSharedFileInfos()) engine.AddPrivateFile(std::make_shared<FileInfo>(file));
    say("shared");
  } else if (what == "ask") {
    engine.SendAskShared(user);
    say("asked");
  } else {
    answer["reason"] = "unknown: " + what;
    say("refused", answer);
  }
}

}  // namespace

int main() {
  auto home = std::string(g_get_home_dir());
  auto config = std::make_shared<iptux::IptuxConfig>(home + "/.iptux/config.json");
  auto settings = std::make_shared<iptux::ProgramData>(config);
  CoreThread engine(settings);
  std::atomic<bool> running{true};
  engine.signalEvent.connect(sigc::ptr_fun(&on_event));
  say("starting");
  try {
    engine.start();
  } catch (const std::exception& failure) {
    Json::Value why(Json::objectValue);
    why["reason"] = failure.what();
    say("failed", why);
    return 1;
  }
  std::thread watcher(watch, std::ref(engine), std::cref(running));
  say("started");
  std::string text;
  while (std::getline(std::cin, text)) {
    Json::Value line;
    std::string problem;
    std::unique_ptr<Json::CharReader> reader(Json::CharReaderBuilder().newCharReader());
    if (!reader->parse(text.data(), text.data() + text.size(), &line, &problem)) {
      Json::Value why(Json::objectValue);
      why["reason"] = problem;
      say("refused", why);
      continue;
    }
    if (line["do"] == "exit") break;
    obey(engine, *settings, line);
  }
  running = false;
  watcher.join();
  engine.stop();
  say("stopped");
  _exit(0);  // the engine's threads may still be in a call: its destructors wait for up to a second
}

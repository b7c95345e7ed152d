#include "bliss/fits/file.hpp"

#include "impl.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace bliss::fits {
namespace {

std::string message_stack() {
    std::string text;
    std::array<char, FLEN_ERRMSG> line{};
    while (fits_read_errmsg(line.data()) != 0) text += fmt::format("{}{}", text.empty() ? "" : "; ", line.data());
    return text;
}

std::string_view advice_for(int status) {
    switch (status) {
        case END_OF_FILE:
        case READ_ERROR:
            return "the file is truncated or is not FITS: fetch it again";
        case WRITE_ERROR:
        case FILE_NOT_CLOSED:
            return "check that the disk is not full and no quota is reached";
        case FILE_NOT_CREATED:
            return "check that the folder exists and can be written to";
        case COL_NOT_FOUND:
            return "check that the file is of the kind that was expected";
        case KEY_NO_EXIST:
            return "the header lacks the key: check that the file is of the kind that was expected";
        case BAD_HDU_NUM:
            return "check that the file is of the kind that was expected and is not truncated";
        case NUM_OVERFLOW:
            return "read it as a wider type";
        default:
            return "check the file, for example with fitsverify";
    }
}

}  // namespace

FitsFile::Impl::~Impl() {
    if (handle != nullptr) {
        int status = 0;
        if (is_writing()) {
            fits_delete_file(handle, &status);
        } else {
            fits_close_file(handle, &status);
        }
        fits_clear_errmsg();
    }
    std::error_code ignored;
    if (is_writing()) std::filesystem::remove(partial, ignored);
}

int FitsFile::Impl::selected() const {
    int number = 1;
    if (handle != nullptr) fits_get_hdu_num(handle, &number);
    return number - 1;
}

void FitsFile::Impl::fail(std::string_view operation, std::string_view problem, std::string_view advice) const {
    throw FitsError(fmt::format("{}[HDU {}]: {}: {}; {}", path.string(), selected(), operation, problem, advice));
}

void FitsFile::Impl::check(int status, std::string_view operation) const {
    if (status == 0) return;
    std::array<char, FLEN_STATUS> text{};
    fits_get_errstatus(status, text.data());
    const std::string stack = message_stack();
    fail(operation, fmt::format("{} (CFITSIO status {}{}{})", text.data(), status, stack.empty() ? "" : ": ", stack),
         advice_for(status));
}

void FitsFile::Impl::verify_complete() const {
    LONGLONG header_start = 0;
    LONGLONG data_start = 0;
    LONGLONG data_end = 0;
    int status = 0;
    fits_get_hduaddrll(handle, &header_start, &data_start, &data_end, &status);
    check(status, "finding the data");
    // Block padding counts: CFITSIO cannot read the last block of a file that ends within it.
    if (data_end > total_bytes) {
        fail("selecting the HDU",
             fmt::format("the file is truncated (it has {} bytes, the HDU ends at byte {})", total_bytes, data_end),
             "fetch it again");
    }
}

FitsFile::FitsFile(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
FitsFile::FitsFile(FitsFile&&) noexcept = default;
FitsFile& FitsFile::operator=(FitsFile&&) noexcept = default;
FitsFile::~FitsFile() = default;

std::string library_version() {
    float version = 0;
    fits_get_version(&version);
    return fmt::format("{:.2f}", version);
}

FitsFile FitsFile::open(const std::filesystem::path& path) {
    auto impl = std::make_unique<Impl>();
    impl->path = path;
    std::error_code error;
    const auto kind = std::filesystem::status(path, error).type();
    if (kind == std::filesystem::file_type::not_found) impl->fail("opening", "no such file", "check the path");
    if (kind != std::filesystem::file_type::regular) {
        impl->fail("opening", error ? error.message() : "not a regular file", "give the path of a FITS file");
    }
    if (::access(path.c_str(), R_OK) != 0) impl->fail("opening", std::strerror(errno), "check the permissions");

    int status = 0;
    fits_clear_errmsg();  // what an earlier file left behind is not this one's
    if (auto content = decompress(path)) {
        // CFITSIO would read brackets in the name as a filter; it needs none.
        impl->inflated = std::move(*content);
        impl->memory = impl->inflated.data();
        impl->memory_bytes = impl->inflated.size();
        impl->total_bytes = static_cast<std::int64_t>(impl->inflated.size());
        fits_open_memfile(&impl->handle, "inflated", READONLY, &impl->memory, &impl->memory_bytes, 0, nullptr, &status);
    } else {
        impl->total_bytes = static_cast<std::int64_t>(std::filesystem::file_size(path, error));
        if (error) impl->fail("opening", error.message(), "check the disk");
        // An absolute path cannot be taken for "-" (standard input) or another of CFITSIO's special names.
        fits_open_diskfile(&impl->handle, std::filesystem::absolute(path).c_str(), READONLY, &status);
    }
    impl->check(status, "opening");
    impl->verify_complete();
    return FitsFile(std::move(impl));
}

FitsFile FitsFile::create(const std::filesystem::path& path) {
    auto impl = std::make_unique<Impl>();
    impl->path = path;
    std::filesystem::path partial = path;
    partial += ".partial";
    const auto folder = std::filesystem::absolute(path).parent_path();
    std::error_code error;
    if (!std::filesystem::is_directory(folder, error)) {
        impl->fail("creating", fmt::format("no such folder: {}", folder.string()), "make it first or give another path");
    }
    std::filesystem::remove(partial, error);
    int status = 0;
    fits_create_diskfile(&impl->handle, std::filesystem::absolute(partial).c_str(), &status);
    impl->check(status, "creating");
    impl->partial = partial;
    return FitsFile(std::move(impl));
}

void FitsFile::commit() {
    Impl& impl = *impl_;
    if (!impl.is_writing() || impl.handle == nullptr) {
        impl.fail("committing", "the file is not being written", "commit a created file once");
    }
    if (!impl.has_hdu) impl.write_pixels(BYTE_IMG, TBYTE, {}, nullptr, {}, {});
    int flushed = 0;
    fits_flush_file(impl.handle, &flushed);
    // CFITSIO frees the handle whatever the status, and reports only what goes wrong in this call.
    int closed = 0;
    fits_close_file(std::exchange(impl.handle, nullptr), &closed);
    impl.check(flushed != 0 ? flushed : closed, "writing the file out");

    const int descriptor = ::open(impl.partial.c_str(), O_RDONLY | O_CLOEXEC);
    // Network disks report a full quota only when the content is forced out.
    const bool durable = descriptor >= 0 && ::fsync(descriptor) == 0;
    const int cause = errno;
    if (descriptor >= 0) ::close(descriptor);
    if (!durable) impl.fail("writing the file out", std::strerror(cause), advice_for(WRITE_ERROR));

    std::error_code error;
    std::filesystem::rename(impl.partial, impl.path, error);
    if (error) impl.fail("renaming the partial file", error.message(), "check the final path");
    impl.partial.clear();
}

const std::filesystem::path& FitsFile::path() const { return impl_->path; }

int FitsFile::hdu_count() {
    int count = 0;
    int status = 0;
    fits_get_num_hdus(impl_->handle, &count, &status);
    impl_->check(status, "counting HDUs");
    fits_clear_errmsg();  // looking for one more HDU leaves messages that are no error
    return count;
}

int FitsFile::selected_hdu() const { return impl_->selected(); }

void FitsFile::select(int hdu) {
    const std::string operation = fmt::format("selecting HDU {}", hdu);
    if (const int count = hdu_count(); hdu < 0 || hdu >= count) {
        impl_->fail(operation, fmt::format("the file has {} HDUs (numbers 0 to {})", count, count - 1),
                    advice_for(BAD_HDU_NUM));
    }
    int status = 0;
    fits_movabs_hdu(impl_->handle, hdu + 1, nullptr, &status);
    impl_->check(status, operation);
    if (!impl_->is_writing()) impl_->verify_complete();
}

void FitsFile::select(const std::string& extname) {
    int status = 0;
    std::string name = extname;
    fits_movnam_hdu(impl_->handle, ANY_HDU, name.data(), 0, &status);
    impl_->check(status, fmt::format("selecting the HDU named '{}'", extname));
    if (!impl_->is_writing()) impl_->verify_complete();
}

bool FitsFile::has_hdu(const std::string& extname) {
    const int before = selected_hdu() + 1;
    int status = 0;
    std::string name = extname;
    fits_movnam_hdu(impl_->handle, ANY_HDU, name.data(), 0, &status);
    const bool found = status == 0;
    fits_clear_errmsg();
    status = 0;
    fits_movabs_hdu(impl_->handle, before, nullptr, &status);
    impl_->check(status, "going back to the selected HDU");
    return found;
}

}  // namespace bliss::fits
